//! Ids, times, quantities, keys, and texts that are JSON.

use std::sync::Arc;

use kelson_model::code::ToldCode;
use kelson_model::id::{AgentId, Digest, Index, MemberId, Revision, TaskId, TokenId, WorkloadId};
use kelson_model::object::{Namespace, ObjectKey};
use kelson_model::principal::Principal;
use kelson_model::quantity::{Bytes, MilliCpus, Millis, Resources};
use kelson_model::reason::{HoldReason, KeptReason};
use kelson_model::spec::Spec;
use kelson_model::template::TaskTemplate;
use kelson_model::time::{ClusterTime, WallTime};
use serde_json::Value;

use super::error::FormError;
use super::reader::Reader;
use super::statement::Form;
use super::writer::Writer;
use crate::port::SeatId;

macro_rules! wrapped {
    ($($type:ident)*) => {
        $(impl Form for $type {
            fn put(&self, to: &mut Writer) {
                to.number(self.0);
            }
            fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
                from.number().map(Self)
            }
        })*
    };
}
wrapped!(TaskId AgentId MemberId TokenId WorkloadId Index ClusterTime WallTime MilliCpus Bytes Millis);

impl Form for Digest {
    fn put(&self, to: &mut Writer) {
        to.raw(&self.to_bytes());
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
        Ok(Self::from_bytes(&from.array()?))
    }
}

impl Form for Revision {
    fn put(&self, to: &mut Writer) {
        to.raw(&self.to_bytes());
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
        Ok(Self::from_bytes(&from.array()?))
    }
}

impl Form for Namespace {
    fn put(&self, to: &mut Writer) {
        to.name(self.as_str());
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
        let path = from.name()?.parse();
        path.map_err(|_| FormError::Value("a namespace"))
    }
}

/// Words and codes, of which newer programs may have others.
macro_rules! words {
    ($($type:ident $word:ident)*) => {
        $(impl Form for $type {
            fn put(&self, to: &mut Writer) {
                to.name(self.$word());
            }
            fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
                from.name().map(|word| Self::from(word.to_owned()))
            }
        })*
    };
}
words!(HoldReason word KeptReason word ToldCode id);

form!(ObjectKey { kind as Name, namespace, name as Name });
form!(SeatId {
    framework,
    namespace
});
form!(Principal { actor as Name, via as Name });

/// Quantities by the names of their resources, in the order of the names; of what there is none is
/// not told.
impl Form for Resources {
    fn put(&self, to: &mut Writer) {
        let Self { cpus, memory, disk } = self;
        let all = [(CPUS, cpus.0), (DISK, disk.0), (MEMORY, memory.0)];
        let told = all.iter().filter(|(_, quantity)| *quantity > 0);
        to.count(told.clone().count());
        for (name, quantity) in told {
            to.name(name);
            to.number(*quantity);
        }
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
        let mut resources = Self::default();
        let mut last = "";
        for _ in 0..from.count(2)? {
            let name = from.name()?;
            if name <= last {
                return Err(FormError::Order("resources"));
            }
            let quantity = match from.number()? {
                0 => return Err(FormError::Value("an amount of a resource")),
                quantity => quantity,
            };
            match name {
                CPUS => resources.cpus = MilliCpus(quantity),
                MEMORY => resources.memory = Bytes(quantity),
                DISK => resources.disk = Bytes(quantity),
                _ => return Err(FormError::Value("a resource that this program knows")),
            }
            last = name;
        }
        Ok(resources)
    }
}

const CPUS: &str = "cpus";
const DISK: &str = "disk";
const MEMORY: &str = "memory";

/// The length of its JSON text and one more, and the text; 0: the same as the one before.
impl Form for Spec {
    fn put(&self, to: &mut Writer) {
        if to.last().spec.as_ref() == Some(self) {
            to.number(0);
        } else {
            put_readable(self, to);
            put_after_length(self.text(), to);
            to.last().spec = Some(self.clone());
        }
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
        let Some(text) = take_after_length(from)? else {
            let last = from.last().spec.clone();
            return last.ok_or(FormError::Value("a specification that came before"));
        };
        let spec = Self::read(text).ok_or(FormError::Value("a specification as it is written"))?;
        from.last().spec = Some(spec.clone());
        Ok(spec)
    }
}

/// As JSON text.
impl Form for Value {
    fn put(&self, to: &mut Writer) {
        let spec = Spec::from(self);
        put_readable(&spec, to);
        to.text(spec.text());
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
        let value = Spec::read(from.text()?).map(|spec| spec.value());
        value.ok_or(FormError::Value("a value as it is written"))
    }
}

/// A part of a specification: as that.
impl Form for Arc<TaskTemplate> {
    fn put(&self, to: &mut Writer) {
        if to.last().template.as_ref() == Some(self) {
            to.number(0);
        } else {
            put_after_length(&template_text(self), to);
            to.last().template = Some(self.clone());
        }
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
        let Some(text) = take_after_length(from)? else {
            let last = from.last().template.clone();
            return last.ok_or(FormError::Value("a template that came before"));
        };
        let read: Option<TaskTemplate> = serde_json::from_str(text).ok();
        let template = read
            .filter(|template| template_text(template) == text)
            .map(Self::new)
            .ok_or(FormError::Value("a template as it is written"))?;
        from.last().template = Some(template.clone());
        Ok(template)
    }
}

/// Refuses what would not be read again.
fn put_readable(spec: &Spec, to: &mut Writer) {
    if spec.depth() > Spec::MAX_DEPTH_READ {
        to.refuse(FormError::Value("a value that is as deep as is read"));
    }
}

fn put_after_length(text: &str, to: &mut Writer) {
    to.count(text.len().saturating_add(1));
    to.raw(text.as_bytes());
}

fn take_after_length<'a>(from: &mut Reader<'a>) -> Result<Option<&'a str>, FormError> {
    let Some(length) = from.small::<usize>()?.checked_sub(1) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(from.raw(length)?);
    text.map(Some).map_err(|_| FormError::Text)
}

fn template_text(template: &TaskTemplate) -> String {
    serde_json::to_string(template).unwrap_or_default()
}
