//! How much of freed memory the C library's allocator keeps.

/// Bounds the allocator's arenas to one a core, at least two. Each arena keeps what its threads have freed, and by default there may be
/// eight a core: blocks are made on many threads in turn, so a full drain would hold half as much again. `MALLOC_ARENA_MAX` of the
/// environment goes before it. Called before any thread.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "mallopt is a function of the C library")]
pub(super) fn bound_arenas() {
    if std::env::var_os("MALLOC_ARENA_MAX").is_some() {
        return;
    }
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let arenas_max = libc::c_int::try_from(cores.max(2)).unwrap_or(libc::c_int::MAX);
    // SAFETY: it takes two numbers; no other thread exists yet. A refusal leaves the default.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas_max) };
}

/// Other C libraries have no arenas to bound.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn bound_arenas() {}
