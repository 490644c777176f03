//! A network that can fail: a loopback proxy before the service, each connection of which can be cut or swallowed.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What a connection is in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Bytes go through.
    Pass,
    /// Both ends get a reset.
    Cut,
    /// Nothing is read or written any more, and nothing is closed: as when packets are dropped.
    Swallow,
}

/// Bytes taken at once, each way.
const CHUNK_BYTES: usize = 16 * 1024;
/// Buffers of sockets that are to be narrow.
const NARROW_BYTES: usize = 16 * 1024;

/// The running proxy. Dropped, it ends with all its connections.
pub(super) struct Proxy {
    address: SocketAddr,
    lines: Lines,
    stop: CancellationToken,
}

type Lines = Arc<Mutex<HashMap<u16, watch::Sender<Fate>>>>;

impl Proxy {
    /// Listens on loopback and passes on to `target`. With narrow buffers a reader that stops is felt at the other end soon.
    pub(super) async fn start(target: SocketAddr, narrow: bool) -> std::io::Result<Proxy> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (lines, stop) = (Lines::default(), CancellationToken::new());
        let (register, ended) = (Arc::clone(&lines), stop.clone());
        tokio::spawn(async move {
            loop {
                let accepted =
                    tokio::select! { a = listener.accept() => a, () = ended.cancelled() => return };
                let Ok((near, peer)) = accepted else { continue }; // out of files: those who wait find out by themselves
                let (fate, told) = watch::channel(Fate::Pass);
                lock(&register).insert(peer.port(), fate);
                let (register, ended) = (Arc::clone(&register), ended.clone());
                tokio::spawn(async move {
                    tokio::select! { () = carry(near, (target, narrow), told) => {}, () = ended.cancelled() => {} }
                    lock(&register).remove(&peer.port());
                });
            }
        });
        Ok(Proxy { address, lines, stop })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Decides over the connection whose near end has that port; false where there is none.
    pub(super) fn decide(&self, port: u16, fate: Fate) -> bool {
        lock(&self.lines).get(&port).is_some_and(|line| line.send(fate).is_ok())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn lock(lines: &Lines) -> std::sync::MutexGuard<'_, HashMap<u16, watch::Sender<Fate>>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection until its end. A refused target refuses the near end too.
async fn carry(mut near: TcpStream, (target, narrow): (SocketAddr, bool), mut fate: watch::Receiver<Fate>) {
    if narrow {
        let _ = socket2::SockRef::from(&near).set_send_buffer_size(NARROW_BYTES); // wider ones only take longer
    }
    let Ok(mut far) = connect(target, narrow).await else { return reset(&near) };
    let _ = (near.set_nodelay(true), far.set_nodelay(true)); // latency is measured through here
    let mut from_near = vec![0; CHUNK_BYTES];
    let mut from_far = vec![0; CHUNK_BYTES];
    loop {
        let moved = tokio::select! {
            read = near.read(&mut from_near) => pass(read, &from_near, &mut far).await,
            read = far.read(&mut from_far) => pass(read, &from_far, &mut near).await,
            _ = fate.changed() => {
                let decided = *fate.borrow_and_update();
                if decided == Fate::Swallow {
                    return swallow(near, far, fate).await;
                }
                decided == Fate::Pass
            }
        };
        if !moved {
            reset(&near);
            return reset(&far);
        }
    }
}

async fn connect(target: SocketAddr, narrow: bool) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if narrow {
        socket.set_recv_buffer_size(u32::try_from(NARROW_BYTES).unwrap_or(u32::MAX))?;
    }
    socket.connect(target).await
}

/// Holds both ends open and untouched until the near end's owner is done with it: that end is then gone from here too.
async fn swallow(near: TcpStream, far: TcpStream, mut fate: watch::Receiver<Fate>) {
    let _held = (near, far);
    let _ = tokio::time::timeout(super::SWALLOWED_MAX, fate.wait_for(|fate| *fate == Fate::Cut)).await;
}

async fn pass(read: std::io::Result<usize>, bytes: &[u8], to: &mut TcpStream) -> bool {
    match read {
        Ok(count) if count > 0 => to.write_all(&bytes[..count]).await.is_ok(),
        _ => false,
    }
}

fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO)); // best effort: it ends either way
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Scenario: an echo behind the proxy; the line is swallowed, another is cut.
    /// Guarantees: before, bytes pass; a swallowed line stays silent and open; a cut one fails.
    #[tokio::test]
    async fn a_line_can_be_swallowed_or_cut() {
        let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let target = echo.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((mut one, _)) = echo.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = one.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        let proxy = Proxy::start(target, false).await.expect("a proxy");
        for fate in [Fate::Swallow, Fate::Cut] {
            let mut line = TcpStream::connect(proxy.address()).await.expect("a connection");
            let mut answer = [0; 4];
            line.write_all(b"ping").await.expect("written");
            line.read_exact(&mut answer).await.expect("an echo");
            assert!(proxy.decide(line.local_addr().expect("an address").port(), fate));
            let heard = tokio::time::timeout(Duration::from_millis(300), async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                line.write_all(b"ping").await?;
                line.read_exact(&mut answer).await
            });
            match (fate, heard.await) {
                (Fate::Swallow, Err(_)) | (Fate::Cut, Ok(Err(_))) => {}
                (_, other) => panic!("{fate:?}: {other:?}"),
            }
        }
    }
}
