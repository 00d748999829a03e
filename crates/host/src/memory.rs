//! Memory that is no longer needed goes back to the system.

/// Gives back what was freed and the C library still keeps, wherever in its heaps it lies: glibc does so by itself
/// only at their ends, so that after a crowd has gone one small block holds on to all that was below it. Takes a
/// millisecond for each dozen megabytes; other C libraries need no such word.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    {
        #[expect(
            unsafe_code,
            reason = "a call into the C library, which takes a number and may be made at any time"
        )]
        unsafe extern "C" {
            safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        malloc_trim(0);
    }
}

/// Lets go of the pages of code that were needed to start: the system maps sixteen pages for each that is touched, so
/// that a process that has just started holds most of its binary. What is needed again comes back from the system's
/// cache by itself, a microsecond for each sixteen pages. (A breakpoint that a debugger has set before is lost.)
pub fn forget_start() {
    #[cfg(target_os = "linux")]
    for code in
        std::fs::read_to_string("/proc/self/maps").unwrap_or_default().lines().filter_map(code_of_a_file)
    {
        #[expect(
            unsafe_code,
            reason = "pages of code are never written to, so that what is forgotten is read again from the file"
        )]
        unsafe {
            let at = std::ptr::with_exposed_provenance_mut(code.start);
            let _ = rustix::mm::madvise(at, code.len(), rustix::mm::Advice::LinuxDontNeed); // it stays, then
        }
    }
}

/// Where a line of `/proc/self/maps` says that code of a file is, which can be executed and not written to.
#[cfg(target_os = "linux")]
fn code_of_a_file(line: &str) -> Option<std::ops::Range<usize>> {
    let mut words = line.split_ascii_whitespace();
    let (from, to) = words.next()?.split_once('-')?;
    let (may, _, _, file) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let at = |hex| usize::from_str_radix(hex, 16).ok();
    (may == "r-xp" && file != "0").then_some(at(from)?..at(to)?)
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    /// Bytes of this process that are in memory: its own (`RssAnon`), or of files (`RssFile`).
    fn resident(whose: &str) -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with(whose)).expect("Linux tells");
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    #[test]
    fn what_lies_under_a_small_block_goes_back() {
        const SOME: u64 = 64 << 20;
        let mut blocks: Vec<Vec<u8>> = (0..SOME >> 13).map(|_| vec![1; 8 << 10]).collect();
        let held = resident("RssAnon:");
        let mut number = 0;
        blocks.retain(|_| {
            number += 1;
            number % 64 == 0
        });
        give_back();
        let left = resident("RssAnon:");
        assert!(left + SOME / 2 < held, "{held} bytes before, {left} after");
        drop(blocks);
    }

    #[test]
    fn code_that_is_not_in_use_goes_back_and_what_is_comes_again() {
        let held = resident("RssFile:");
        forget_start();
        let left = resident("RssFile:");
        assert!(left < held, "{held} bytes before, {left} after");
    }

    #[test]
    fn only_code_of_a_file_is_let_go_of() {
        let of = |may: &str, inode: &str| {
            code_of_a_file(&format!("1000-3000 {may} 00000000 fe:00 {inode}  /usr/bin/x"))
        };
        assert_eq!(of("r-xp", "17"), Some(0x1000..0x3000));
        for (may, inode) in [("r-xp", "0"), ("rwxp", "17"), ("r--p", "17"), ("rw-p", "17"), ("r-xs", "17")] {
            assert_eq!(of(may, inode), None, "{may} {inode}");
        }
        assert_eq!(code_of_a_file("7fff-8000 r-xp"), None);
    }
}
