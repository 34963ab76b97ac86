//! `kelson token`: lets machines join and people in.

use anyhow::Result;
use clap::{Args, Subcommand};
use kelson_model::access::Role;
use kelson_model::id::TokenId;
use kelson_model::quantity::Millis;
use kelson_model::token::{RevokeAnswer, RevokeRequest, TokenAnswer, TokenRequest, TokenView};
use kelson_model::view::List;

use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Palette, Table, print, say};

/// What may be typed behind `token`.
#[derive(Debug, Args)]
pub(crate) struct Token {
    #[command(subcommand)]
    verb: TokenVerb,
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
enum TokenVerb {
    /// Makes a token, and prints its line: this is the only time that it is told
    Create {
        /// What whoever shows it becomes: member, agent, reader, operator or admin; the last three
        /// are for people, with -n in one namespace and below
        #[arg(long)]
        role: Role,
        /// How long it holds
        #[arg(long, default_value = "1h", value_name = "DURATION")]
        ttl: Millis,
        /// How many machines may join by it [default: 1]
        #[arg(long, value_name = "MACHINES")]
        uses: Option<u32>,
        /// Whom it is for, as drift and events name them [default: the token's id]
        #[arg(long, default_value = "", hide_default_value = true)]
        name: String,
    },
    /// Lists the tokens that hold
    List,
    /// Takes a token away; machines that have joined by it stay
    Revoke {
        /// Its id: tok_7
        token: TokenId,
    },
}

pub(crate) async fn run(arguments: &Token, context: &Context) -> Result<Exit> {
    let client = context.client().await?;
    match &arguments.verb {
        TokenVerb::Create {
            role,
            ttl,
            uses,
            name,
        } => {
            let for_machines = if role.is_of_people() { 0 } else { 1 };
            let request = TokenRequest {
                role: *role,
                namespace: context.explicit_limit()?,
                name: name.clone(),
                ttl: *ttl,
                uses: uses.unwrap_or(for_machines),
            };
            let answer: TokenAnswer = client.post_as("/v1/tokens", &request).await?;
            print(context.format(), &answer, |_| format!("{}\n", answer.token))?;
        }
        TokenVerb::List => {
            let answer: List<TokenView> = client.get_as("/v1/tokens", &[]).await?;
            let palette = context.palette();
            print(context.format(), &answer, |_| table(&answer, palette))?;
            if answer.items.is_empty() {
                say("no tokens; `kelson token create` makes one");
            }
        }
        TokenVerb::Revoke { token } => {
            let request = RevokeRequest { token: *token };
            let answer: RevokeAnswer = client.post_as("/v1/tokens/revoke", &request).await?;
            print(context.format(), &answer, |_| {
                format!("{token} holds no more\n")
            })?;
        }
    }
    Ok(Exit::Done)
}

fn table(list: &List<TokenView>, palette: Palette) -> String {
    let mut table = Table::new(vec!["ID", "ROLE", "NAMESPACE", "NAME", "EXPIRES", "JOINED"]);
    for token in &list.items {
        let namespace = token.namespace.as_ref();
        let joined = if token.role.is_of_people() {
            "-".to_owned()
        } else {
            format!("{}/{}", token.joined.len(), token.uses)
        };
        table.push(vec![
            token.id.as_str().into(),
            token.role.name().into(),
            namespace
                .map_or_else(|| "-".to_owned(), ToString::to_string)
                .into(),
            token.name.as_str().into(),
            token.expires_at.as_str().into(),
            joined.into(),
        ]);
    }
    table.render(palette)
}
