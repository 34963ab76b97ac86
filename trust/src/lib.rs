//! Trust: the cluster's own CA, certificates, tokens and credentials, and the connections that rest
//! on them.
//!
//! This room decides whom a machine believes and how it shows who it is: what a certificate says
//! (`identity.rs`, `authority.rs`), what a token is (`token.rs`), what lies in files (`keyed.rs`,
//! `credentials.rs`), which connections come about (`tls.rs`, `listener.rs`, `dialer.rs`). It never
//! decides what somebody may do, keeps no list of tokens and makes no cryptography of its own:
//! keys, signatures and handshakes are those of rcgen, rustls and ring. Read `identity.rs` first,
//! then `authority.rs`, then `tls.rs`.

mod addresses;
mod authority;
mod bundle;
mod chain;
mod connection;
mod credentials;
mod dialer;
mod error;
mod files;
mod identity;
mod key;
mod keyed;
mod listener;
mod secret;
mod tls;
mod token;

pub use addresses::{Address, Addresses, ParseAddressError};
pub use authority::{Authority, MACHINE_LIFE, MAX_HOSTS, MAX_REQUEST, PERSON_LIFE, key_of_request};
pub use bundle::CaBundle;
pub use connection::Connection;
pub use credentials::{Credentials, Proof};
pub use dialer::{DialError, Dialer};
pub use error::TrustError;
pub use identity::{Certified, Identity, member_host};
pub use key::PrivateKey;
pub use keyed::{KeyedCertificate, TrustFolder, is_due};
pub use listener::{Limits, Listener, Peer, PlainOutsideError};
pub use secret::Secret;
pub use tls::{ClientTls, Protocol, ServerTls, explain};
pub use token::{ParseTokenError, Token, hash_of, is_same_hash};
