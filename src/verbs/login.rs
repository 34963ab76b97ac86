//! `kelson login`: keeps a token, so that this user is let into a cluster.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use kelson_model::enrol::AuthoritiesAnswer;
use kelson_model::view::MemberInfo;
use kelson_trust::{Addresses, CaBundle, Credentials, Proof, Token};

use crate::client::{Address, Client, own_credentials, parse_addresses};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::say;

/// What may be typed behind `login`.
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// A member, or several with commas between
    #[arg(value_name = "ADDRESS")]
    address: String,
    /// The line that `kelson token create` has printed
    #[arg(
        long,
        env = "KELSON_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    token: String,
}

/// Reads a token as it was typed, without repeating it where it is none.
pub(crate) fn parse_token(text: &str) -> Result<Token, Failure> {
    text.parse()
        .map_err(|error: kelson_trust::ParseTokenError| Failure::usage(error.to_string()))
}

/// Asks whom a cluster believes, over a connection that is believed by a token's fingerprint.
///
/// # Errors
/// Nobody answers, or what is answered is not the CA of the token.
pub(crate) async fn authorities(
    client: &Client,
    token: &Token,
) -> Result<(CaBundle, AuthoritiesAnswer)> {
    let answer: AuthoritiesAnswer = client.get_as("/v1/authorities", &[]).await?;
    let bundle = CaBundle::from_pem(&answer.authorities)?;
    if !bundle.fingerprints().contains(&token.authority) {
        let message = "the cluster does not name the CA of this token";
        return Err(Failure::new(Exit::Refused, message).into());
    }
    Ok((bundle, answer))
}

pub(crate) async fn run(arguments: &Login, context: &Context) -> Result<Exit> {
    let token = parse_token(&arguments.token)?;
    if !token.role.is_of_people() {
        let message = format!("this token is for an {}, and not for a person", token.role);
        return Err(Failure::usage(message)
            .with_hint("a machine joins by `kelson agent join` or `kelson kernel join`")
            .into());
    }
    let file: PathBuf = match &context.common.credentials {
        Some(file) => file.clone(),
        None => own_credentials().context(
            "HOME does not say where to keep credentials; name a file with --credentials",
        )?,
    };
    let holds_certificate =
        Credentials::load(&file).is_ok_and(|kept| matches!(kept.proof, Proof::Certificate(_)));
    if holds_certificate {
        let message = format!(
            "{} holds a certificate, which would be lost",
            file.display()
        );
        return Err(Failure::usage(message)
            .with_hint("name another file with --credentials")
            .into());
    }
    let given = parse_addresses(&arguments.address)?;
    let pinned = Client::new(Address::pinned(given.clone(), &token.authority)?)?;
    let (bundle, answer) = authorities(&pinned, &token).await?;
    // What was typed works from here; what the cluster says may work from elsewhere.
    let typed = given.iter().map(ToString::to_string);
    let all: Vec<String> = typed.chain(answer.addresses).collect();
    let credentials = Credentials {
        addresses: Addresses::new(&all)?,
        bundle,
        proof: Proof::Token(token),
    };
    let client = Client::new(Address::secure(&credentials, &file, None)?)?;
    let info: MemberInfo = client.get_as("/v1/info", &[]).await?;
    credentials.save(&file)?;
    say(&format!(
        "{} lets you into the cluster {}",
        file.display(),
        info.cluster
    ));
    Ok(Exit::Done)
}
