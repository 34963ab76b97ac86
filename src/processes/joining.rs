//! How a machine joins a cluster of several machines: by a token, once, and then for ever.

use std::path::Path;

use anyhow::{Context as _, Result};
use kelson_model::access::Role;
use kelson_model::enrol::{EnrolAnswer, EnrolRequest};
use kelson_trust::{Addresses, CaBundle, KeyedCertificate, Token, TrustFolder};

use crate::client::{Address, Client, parse_addresses};
use crate::exit::{Exit, Failure};

/// Joins as `role` with the token, unless this data directory has joined already.
///
/// *Guarantees*: whatever a run that was cut off has left, the next one becomes the same machine:
/// the key is kept before it is shown. The token goes to nobody but a member of the cluster whose
/// CA it names.
///
/// # Errors
/// The token is none or is refused, nobody answers, or the directory cannot be written.
pub(super) async fn join(
    data_dir: &Path,
    addresses: &str,
    token: &Token,
    role: Role,
    directory: &str,
    name: &str,
) -> Result<()> {
    if token.role != role {
        let message = format!("this token is for an {}, and not for an {role}", token.role);
        return Err(Failure::usage(message).into());
    }
    let folder = TrustFolder::of(data_dir);
    if let Some((_, bundle)) = folder.load()? {
        if bundle.fingerprints().contains(&token.authority) {
            return Ok(());
        }
        let message = format!(
            "{} belongs to the cluster {}, and the token is for another one",
            data_dir.display(),
            bundle.cluster()
        );
        return Err(Failure::new(Exit::Refused, message)
            .with_hint("give this machine an empty data directory")
            .into());
    }
    let given = parse_addresses(addresses)?;
    let key = folder.joining_key()?;
    let request = EnrolRequest {
        token: token.to_line().expose().to_owned(),
        request: key.request()?,
        directory: directory.to_owned(),
        name: name.to_owned(),
    };
    let client = Client::new(Address::pinned(given.clone(), &token.authority)?)?;
    let answer: EnrolAnswer = client.post_as("/v1/enrol", &request).await?;
    let bundle = CaBundle::from_pem(&answer.authorities)?;
    let identity = KeyedCertificate::new(&answer.certificate, key)?;
    let told = &identity.certified().identity;
    let is_as_told =
        told.name == answer.id && told.role == role && told.cluster == bundle.cluster();
    if !is_as_told || !bundle.fingerprints().contains(&token.authority) {
        let message = "the cluster certifies this machine as something else than it says";
        return Err(Failure::new(Exit::Refused, message).into());
    }
    let all: Vec<String> = given
        .iter()
        .map(ToString::to_string)
        .chain(answer.addresses)
        .collect();
    folder.save_addresses(&Addresses::new(&all)?)?;
    folder
        .save(&identity, &bundle)
        .context("what the cluster has given cannot be kept")?;
    folder.drop_joining_key()?;
    tracing::info!(id = answer.id, cluster = bundle.cluster(), "joined");
    Ok(())
}
