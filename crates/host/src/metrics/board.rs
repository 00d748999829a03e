//! Numbers that a loop owns, shown to whoever asks meanwhile.

use std::sync::{Mutex, PoisonError};

use super::{Sample, Source};

/// A loop's numbers at one moment.
pub trait Figures: Clone + Send {
    /// All of them.
    fn samples(&self) -> Vec<Sample>;
}

/// Shows what was last posted.
#[derive(Debug, Default)]
pub struct Board<F>(Mutex<F>);

impl<F: Figures> Board<F> {
    /// Shows these from now on.
    pub fn post(&self, figures: F) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = figures;
    }
}

impl<F: Figures> Source for Board<F> {
    fn samples(&self) -> Vec<Sample> {
        let figures = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        figures.samples()
    }
}
