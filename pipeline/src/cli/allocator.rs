//! How much of freed memory the C library's allocator keeps.
#![expect(unsafe_code, reason = "mallopt is a function of the C library")]

/// Bounds the allocator's arenas to one a core. Each arena keeps what its threads have freed, and by default there may be eight
/// a core: blocks are made on many threads in turn, so a full drain would hold half as much again. Called before any thread.
pub(super) fn bound_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let arenas_max = libc::c_int::try_from(cores.max(2)).unwrap_or(libc::c_int::MAX);
        // SAFETY: it takes two numbers; no other thread exists yet. A refusal leaves the default.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas_max) };
    }
}
