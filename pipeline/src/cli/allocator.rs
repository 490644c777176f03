//! How much of freed memory the C library's allocator keeps, and for how long.

/// How often a process gives back what it has freed. One time costs some milliseconds of a core with a hundred MiB in use.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const GIVEN_BACK_EVERY: std::time::Duration = std::time::Duration::from_secs(5);

/// Larger pieces, which are the columns of blocks, are given back to the system as soon as they are freed. Left to itself the
/// threshold rises to the size of the largest, and a full drain holds a sixth more.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_BYTES_MIN: libc::c_int = 1 << 20;
/// Free memory at the end of the heap that is kept.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES_MAX: usize = 4 << 20;

/// Bounds the allocator's arenas to one a core, at least two, and what it keeps. Each arena keeps what its threads have freed, and by
/// default there may be eight a core: blocks are made on many threads in turn, so a full drain would hold half as much again.
/// `MALLOC_ARENA_MAX` of the environment goes before it. Called before any thread.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "mallopt is a function of the C library")]
pub(super) fn bound_memory() {
    if std::env::var_os("MALLOC_ARENA_MAX").is_some() {
        return;
    }
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let at_most = |number: usize| libc::c_int::try_from(number).unwrap_or(libc::c_int::MAX);
    let settings = [
        (libc::M_ARENA_MAX, at_most(cores.max(2))),
        (libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN),
        (libc::M_TRIM_THRESHOLD, at_most(KEPT_BYTES_MAX)),
    ];
    for (name, value) in settings {
        // SAFETY: it takes two numbers; no other thread exists yet. A refusal leaves the default.
        unsafe { libc::mallopt(name, value) };
    }
}

/// Other C libraries have no arenas to bound.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn bound_memory() {}

/// Gives back what lies free between what is in use, for as long as the process runs. The allocator itself gives back only the end of
/// its heap and large pieces, so a service would hold for good what its busiest moment needed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "malloc_trim is a function of the C library")]
pub(super) async fn give_back() {
    loop {
        tokio::time::sleep(GIVEN_BACK_EVERY).await;
        // SAFETY: it takes a number and any thread may call it at any time.
        let given = tokio::task::spawn_blocking(|| unsafe { libc::malloc_trim(KEPT_BYTES_MAX) }).await;
        if given.is_err() {
            return; // the runtime ends
        }
    }
}

/// Other C libraries have no such call.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) async fn give_back() {}
