//! Panics in tasks of the simulated processes: tokio keeps them to the task, the ledger wants to know.

use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    static HEARD: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// From here on, panics of this thread are kept and not printed.
pub(crate) fn listen() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let kept = HEARD.with_borrow_mut(|heard| {
                heard.as_mut().map(|heard| heard.push(format!("a process panics: {panic}"))).is_some()
            });
            if !kept {
                usual(panic);
            }
        }));
    });
    HEARD.set(Some(Vec::new()));
}

/// What was heard; from here on panics are printed again.
pub(crate) fn take() -> Vec<String> {
    HEARD.take().unwrap_or_default()
}
