//! Who asks: access tokens (RFC 9068), the keys they are held against, and what was revoked.
//!
//! ```text
//! token ─▶ Keys (files, or a JWKS kept fresh) ─▶ claims ─▶ Principal ─▶ not revoked? ─▶ the caller
//! ```
//! There is no default key, no password and no anonymous principal: whoever brings no token is [`Denied::Missing`].

mod authority;
mod checked;
mod jwks;
mod keys;
mod mint;
mod principal;
mod revocations;
#[cfg(test)]
mod tests;
mod token;

pub use authority::{Authority, AuthorityError, Denied, KeySource, Settings};
pub use keys::KeyError;
pub use mint::{Minter, TokenRequest, generate_key};
pub use principal::{Principal, Role};
pub use token::LIFETIME_S_MAX;
