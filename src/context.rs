//! What a verb has at hand: the common flags, a client, a palette.

use anyhow::Result;
use kelson_model::object::Namespace;

use crate::arguments::Common;
use crate::client::{Client, address_here};
use crate::exit::Failure;
use crate::output::{Format, Palette};

/// What a verb has at hand.
pub(crate) struct Context {
    /// The common flags.
    pub(crate) common: Common,
}

impl Context {
    /// In which form to answer.
    pub(crate) fn format(&self) -> Format {
        self.common.output.format().unwrap_or_default()
    }

    /// The colours of stdout.
    pub(crate) fn palette(&self) -> Palette {
        Palette::of_stdout()
    }

    /// A client of the kernel that the flags, the environment or the current directory name.
    ///
    /// # Errors
    /// When what they name is no address, or they name none and a cluster of another repository
    /// would be taken.
    pub(crate) async fn client(&self) -> Result<Client> {
        let credentials = self.common.credentials.as_deref();
        Client::new(address_here(self.common.addr.as_deref(), credentials).await?)
    }

    /// The namespace that objects are looked up in.
    ///
    /// # Errors
    /// When it is no name.
    pub(crate) fn namespace(&self) -> Result<Namespace, Failure> {
        match self
            .common
            .namespace
            .as_deref()
            .filter(|text| !text.is_empty())
        {
            Some(text) => text
                .parse()
                .map_err(|error| Failure::usage(format!("{error}"))),
            None => Ok(Namespace::default_namespace()),
        }
    }

    /// The namespace that was named with `-n`; `None` for all.
    ///
    /// # Errors
    /// When it is no name.
    pub(crate) fn explicit_limit(&self) -> Result<Option<Namespace>, Failure> {
        match &self.common.namespace {
            Some(_) => self.limit(),
            None => Ok(None),
        }
    }

    /// The namespace that lists are limited to; `None` for all.
    ///
    /// # Errors
    /// When it is no name.
    pub(crate) fn limit(&self) -> Result<Option<Namespace>, Failure> {
        if self.common.all_namespaces {
            Ok(None)
        } else {
            self.namespace().map(Some)
        }
    }
}
