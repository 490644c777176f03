//! Nothing outlives the test process.
//!
//! `Drop` stops a server when a test passes or panics, but not when the test process itself is
//! killed, and statics, such as the shared broker, are never dropped. `PR_SET_PDEATHSIG` would
//! not do: it fires when the *thread* that spawned the child ends, and each test has a thread.
//!
//! So one `sh` per test process reads a pipe whose other end only this process holds. The kernel
//! closes that end however the process ends, `SIGKILL` included; the guard then reads the end of
//! its input, kills the processes still on its list and deletes their folders. A process leaves the
//! list when it is reaped, before its id can pass to another.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// The guard deletes only folders whose name starts so, whatever it is told.
pub(crate) const FOLDER_PREFIX: &str = "tally-test-";

const SCRIPT: &str = r#"
pids=
while read -r what value; do
    case $what in
        watch) pids="$pids $value" ;;
        release)
            kept=
            for pid in $pids; do [ "$pid" = "$value" ] || kept="$kept $pid"; done
            pids=$kept ;;
        folder) set -- "$@" "$value" ;;
    esac
done
for pid in $pids; do kill -9 "$pid" 2>/dev/null; done
[ $# -eq 0 ] && exit
sleep 0.2
for folder; do
    case ${folder##*/} in tally-test-*) rm -rf -- "$folder" || { sleep 1; rm -rf -- "$folder"; } ;; esac
done
"#;

/// Has the process killed when this one ends.
pub fn watch(pid: u32) {
    tell(&format!("watch {pid}\n"));
}

/// Takes the process off the list: to be called when it is reaped.
pub fn release(pid: u32) {
    tell(&format!("release {pid}\n"));
}

/// Has the folder deleted when this process ends, should it still be there.
pub fn delete_at_end(folder: &Path) {
    tell(&format!("folder {}\n", folder.display()));
}

fn tell(line: &str) {
    pipe().write_all(line.as_bytes()).expect("the guard reads its pipe (was its sh killed?)");
}

fn pipe() -> MutexGuard<'static, ChildStdin> {
    // std opens pipes close-on-exec: no other child holds the end that this process holds.
    #[expect(
        clippy::zombie_processes,
        reason = "the guard ends after this process, so nobody here can wait for it"
    )]
    static PIPE: LazyLock<Mutex<ChildStdin>> = LazyLock::new(|| {
        let mut guard = Command::new("sh")
            .args(["-c", SCRIPT, "tally-guard"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A group of its own: the Ctrl-C that ends the tests must not end the guard.
            .process_group(0)
            .spawn()
            .expect("sh can be started");
        Mutex::new(guard.stdin.take().expect("the guard's input is a pipe"))
    });
    PIPE.lock().unwrap_or_else(PoisonError::into_inner)
}
