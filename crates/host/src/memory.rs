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

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    /// Bytes of this process's own memory that are in use.
    fn resident() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    #[test]
    fn what_lies_under_a_small_block_goes_back() {
        const SOME: u64 = 64 << 20;
        let mut blocks: Vec<Vec<u8>> = (0..SOME >> 13).map(|_| vec![1; 8 << 10]).collect();
        let held = resident();
        let mut number = 0;
        blocks.retain(|_| {
            number += 1;
            number % 64 == 0
        });
        give_back();
        let left = resident();
        assert!(left + SOME / 2 < held, "{held} bytes before, {left} after");
        drop(blocks);
    }
}
