//! What the outermost layer knows of a request before any handler does: its id, and the address that it comes from.

use axum::http::{Extensions, HeaderMap, HeaderName};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use uuid::Uuid;

/// Where proxies write whom they act for, each behind the one before it.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The other end of the connection; the socket's layer puts it to each request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// One request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestInfo {
    /// As in the header `x-request-id`, in problem documents and in the log.
    pub(crate) id: Uuid,
    /// Who asks, as far as addresses say it.
    pub(crate) client: IpAddr,
}

impl RequestInfo {
    /// Of a new request that came through so many proxies of the operator's own.
    pub(crate) fn new(headers: &HeaderMap, extensions: &Extensions, proxies: u32) -> RequestInfo {
        let peer = extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0);
        RequestInfo { id: Uuid::now_v7(), client: client(peer, headers, proxies) }
    }
}

/// The address that the outermost of the operator's proxies saw; whatever stands before it in the header anybody may have
/// written. The other end of the connection where there are no proxies, or where the header does not say.
fn client(peer: IpAddr, headers: &HeaderMap, proxies: u32) -> IpAddr {
    let Some(back) = (proxies as usize).checked_sub(1) else { return peer };
    // a hop that is no text is a hop still: those behind it keep their places
    let lines =
        headers.get_all(FORWARDED_FOR).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let hops: Vec<&[u8]> = lines.collect();
    let hop = hops.iter().rev().nth(back).and_then(|hop| std::str::from_utf8(hop).ok());
    hop.and_then(|hop| address(hop.trim())).unwrap_or(peer)
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::client;
    use axum::http::{HeaderMap, HeaderValue};
    use std::net::IpAddr;

    /// Scenario: requests with and without forwarded addresses, through no, one and two proxies, some with what a client wrote
    /// itself, some with nonsense.
    /// Guarantees: without proxies nothing of the header is believed; with them only what the outermost wrote; what cannot be
    /// read counts as the connection's.
    #[test]
    fn only_our_own_proxies_are_believed() {
        let peer: IpAddr = "10.0.0.9".parse().expect("an address");
        let of_bytes = |lines: &[&[u8]], proxies| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", HeaderValue::from_bytes(line).expect("a header"));
            }
            client(peer, &headers, proxies).to_string()
        };
        let of = |lines: &[&str], proxies| {
            let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
            of_bytes(&lines, proxies)
        };
        assert_eq!(of_bytes(&[b"9.9.9.9", b"\xff, 198.51.100.1"], 1), "198.51.100.1");
        assert_eq!(of_bytes(&[b"9.9.9.9", b"\xff"], 1), "10.0.0.9");
        assert_eq!(of(&["198.51.100.1"], 0), "10.0.0.9");
        assert_eq!(of(&["198.51.100.1"], 1), "198.51.100.1");
        assert_eq!(of(&["1.1.1.1, 198.51.100.1"], 1), "198.51.100.1");
        assert_eq!(of(&["1.1.1.1, 198.51.100.1", "10.0.0.8"], 2), "198.51.100.1");
        assert_eq!(of(&["[2001:db8::1]:4711"], 1), "2001:db8::1");
        assert_eq!(of(&["198.51.100.1:4711"], 1), "198.51.100.1");
        for nonsense in [&[][..], &["unknown"], &["198.51.100.1"]] {
            assert_eq!(of(nonsense, 2), "10.0.0.9", "{nonsense:?}");
        }
    }
}
