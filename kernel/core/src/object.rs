//! The kernel's record of one object: what git asks, what is accepted, and what its scheduler says
//! of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::Vector;
use kelson_model::drift::{ByHand, HandField, is_within};
use kelson_model::id::{Digest, Revision, WorkloadId};
use kelson_model::object::{Health, Lifecycle, ObjectKey, Origin, RolloutState, Sync};
use kelson_model::principal::Principal;
use kelson_model::spec::Spec;
use kelson_model::template::TaskTemplate;
use kelson_model::time::{ClusterTime, WallTime};
use serde::{Deserialize, Serialize};

/// How many generations of a workload the kernel keeps, beside the good one.
pub const KEPT_GENERATIONS: usize = 10;

/// One object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Object {
    /// What names it.
    pub key: ObjectKey,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.lifecycle`.
    pub lifecycle: Lifecycle,
    /// Where git has it.
    pub origin: Option<Origin>,
    /// The normalised specification that is in force.
    pub spec: Spec,
    /// The digest of the specification that git last asked for; differs from that of `spec` after a
    /// change by hand. Absent while nothing is asked, or nobody here knows what.
    pub desired: Option<Digest>,
    /// The source that owns it.
    pub source: Option<String>,
    /// The revision that it was last accepted from.
    pub revision: Option<Revision>,
    /// Grows with each change of `spec`; begins at 1.
    pub generation: u64,
    /// When `generation` came to be.
    pub generation_since: ClusterTime,
    /// Its number, where a framework handles its kind.
    pub workload: Option<WorkloadId>,
    /// The newest generations, oldest first.
    pub history: Vector<Arc<Generation>>,
    /// The generation that its scheduler last declared good; 0: none.
    pub good_generation: u64,
    /// A specification that is not tried again until git changes it.
    pub quarantine: Option<Quarantine>,
    /// What its scheduler last said.
    pub status: Status,
    /// Who changed `spec` last.
    pub changed_by: Principal,
    /// When, for people.
    pub changed_at: WallTime,
    /// No manifest wants it any more; it goes once its tasks have ended.
    pub is_removed: bool,
    /// What was changed by hand since git's word was accepted; absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<Arc<ByHand>>,
    /// Names the specification as git had it written, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<Digest>,
}

/// One generation of a specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// Its number.
    pub number: u64,
    /// The normalised specification.
    pub spec: Spec,
    /// The task templates in it, in the order of the kind's description.
    pub templates: Vec<Arc<TaskTemplate>>,
    /// Their content ids.
    pub template_ids: Vec<u64>,
}

/// A specification that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarantine {
    /// Its generation.
    pub generation: u64,
    /// Its digest: the same specification under a new number stays quarantined.
    pub spec: Digest,
    /// What names it as git had it written: the same under other defaults stays quarantined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<Digest>,
    /// Why.
    pub reason: String,
}

/// What a scheduler said about a workload.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// The generation that it is about.
    pub generation: u64,
    /// How well it does.
    pub health: Health,
    /// Where its rollout stands.
    pub rollout: RolloutState,
    /// One word, or nothing.
    pub reason: String,
    /// One sentence, or nothing.
    pub message: String,
}

impl Object {
    /// The generation with this number, where it is still kept.
    pub fn generation_of(&self, number: u64) -> Option<&Arc<Generation>> {
        self.history
            .iter()
            .rev()
            .find(|generation| generation.number == number)
    }

    /// Whether the specification in force is the one that git asks for, and is being carried out.
    pub fn sync(&self) -> Sync {
        match &self.desired {
            _ if self.is_removed => Sync::OutOfSync,
            None => Sync::Unknown,
            Some(_) if self.by_hand.is_none() && self.quarantine.is_none() => Sync::Synced,
            Some(_) => Sync::OutOfSync,
        }
    }

    /// The specification that was accepted from git, whatever was changed by hand since.
    pub fn accepted_spec(&self) -> &Spec {
        match &self.by_hand {
            Some(by_hand) => &by_hand.accepted,
            None => &self.spec,
        }
    }

    /// Takes git's word: what was changed by hand is over, and a quarantine ends unless git asks
    /// for what is quarantined, in these words or in others that mean the same.
    pub(crate) fn take_word(&mut self, digest: Digest, written: Option<Digest>) {
        self.by_hand = None;
        self.quarantine = self.quarantine.take().filter(|quarantine| {
            quarantine.spec == digest || written.is_some() && quarantine.written == written
        });
        if let Some(quarantine) = &mut self.quarantine {
            quarantine.spec = digest.clone();
        }
        self.desired = Some(digest);
        self.written = written;
    }

    /// Keeps who set a field by hand, after [`Object::put_spec`] has put it in force in place of
    /// `before`. Where nobody knows what git asked, nobody knows what differs from it.
    pub(crate) fn note_hand(&mut self, before: &Spec, field: HandField) {
        if self.desired.is_none() {
            return;
        }
        let known = self.by_hand.take().map(Arc::unwrap_or_clone);
        let mut by_hand = known.unwrap_or_else(|| ByHand {
            accepted: before.clone(),
            fields: Vec::new(),
        });
        if by_hand.accepted == self.spec {
            return;
        }
        let at = |spec: &Spec, path: &str| spec.pointer(path.strip_prefix("/spec")?);
        let differs =
            |field: &HandField| at(&by_hand.accepted, &field.path) != at(&self.spec, &field.path);
        let mut fields: Vec<HandField> = std::mem::take(&mut by_hand.fields);
        fields.retain(|known| !is_within(&known.path, &field.path));
        fields.push(field);
        fields.retain(differs);
        let surplus = fields.len().saturating_sub(ByHand::KEPT_FIELDS);
        by_hand.fields = fields.split_off(surplus);
        self.by_hand = Some(Arc::new(by_hand));
    }

    /// The record with what was changed by hand, where it is from before that was kept: the
    /// accepted specification is among the generations. Where it is not, nobody here knows what git
    /// asked, until it is accepted anew, nor what was changed since. `None`: the record is whole.
    pub(crate) fn completed(&self) -> Option<Self> {
        if self.desired.is_none() && self.by_hand.is_some() && !self.is_removed {
            return Some(Self {
                by_hand: None,
                ..self.clone()
            });
        }
        let desired = self.desired.as_ref().filter(|_| self.by_hand.is_none())?;
        if *desired == self.spec.digest() {
            return None;
        }
        let mut kept = self.history.iter().rev();
        let Some(accepted) = kept.find(|kept| kept.spec.digest() == *desired) else {
            return Some(Self {
                desired: None,
                ..self.clone()
            });
        };
        let by_hand = ByHand {
            accepted: accepted.spec.clone(),
            fields: vec![HandField {
                path: "/spec".to_owned(),
                by: self.changed_by.clone(),
                at: self.changed_at,
            }],
        };
        Some(Self {
            by_hand: Some(Arc::new(by_hand)),
            ..self.clone()
        })
    }

    /// The quarantined generation; 0: none.
    pub fn quarantined_generation(&self) -> u64 {
        self.quarantine
            .as_ref()
            .map_or(0, |quarantine| quarantine.generation)
    }

    /// Whether the specification in force is held once more for its generation, as after a snapshot
    /// was read.
    pub(crate) fn holds_twice(&self) -> bool {
        self.history
            .last()
            .is_some_and(|newest| newest.spec == self.spec && !newest.spec.shares_with(&self.spec))
    }

    /// Lets the newest generation hold the specification in force itself.
    pub(crate) fn share(&mut self) {
        if let Some(newest) = self.history.back_mut() {
            Arc::make_mut(newest).spec = self.spec.clone();
        }
    }

    /// Puts a new specification in force and gives it the next generation; the same specification
    /// changes nothing. Returns whether anything changed.
    pub(crate) fn put_spec(
        &mut self,
        spec: &Spec,
        pointers: &[String],
        now: ClusterTime,
        by: &Principal,
        at: WallTime,
    ) -> bool {
        if self.generation > 0 && self.spec == *spec {
            return false;
        }
        self.spec = spec.clone();
        self.generation += 1;
        self.generation_since = now;
        self.changed_by = by.clone();
        self.changed_at = at;
        let digest = spec.digest();
        if let Some(quarantine) = &mut self.quarantine
            && quarantine.spec == digest
        {
            quarantine.generation = self.generation;
        }
        self.bind_templates(pointers);
        true
    }

    /// Reads the templates of the newest generation anew; called when the generation or the kind's
    /// description changes.
    pub(crate) fn bind_templates(&mut self, pointers: &[String]) {
        // A template is named by its place: where one cannot be read, none is known.
        let spec = self.spec.value();
        let templates: Vec<Arc<TaskTemplate>> = pointers
            .iter()
            .map(|pointer| TaskTemplate::from_spec(&spec, pointer).map(Arc::new))
            .collect::<Result<_, _>>()
            .unwrap_or_default();
        let template_ids = templates
            .iter()
            .map(|template| template.content_id())
            .collect();
        let number = self.generation;
        self.history
            .retain(|generation| generation.number != number);
        self.history.push_back(Arc::new(Generation {
            number,
            spec: self.spec.clone(),
            templates,
            template_ids,
        }));
        let good = self.good_generation;
        let mut surplus = self.history.len().saturating_sub(KEPT_GENERATIONS);
        self.history.retain(|generation| {
            let is_old = surplus > 0;
            surplus = surplus.saturating_sub(1);
            !is_old || generation.number == good
        });
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use kelson_model::object::Namespace;
    use serde_json::json;

    /// A Service as it was accepted from git.
    pub(crate) fn object(spec: Spec) -> Object {
        let by = Principal::reconciler();
        let mut object = Object {
            key: ObjectKey::new("Service", Namespace::default_namespace(), "web"),
            labels: BTreeMap::new(),
            lifecycle: Lifecycle::default(),
            origin: None,
            spec: Spec::default(),
            desired: Some(spec.digest()),
            source: None,
            revision: None,
            generation: 0,
            generation_since: ClusterTime(0),
            workload: None,
            history: Vector::new(),
            good_generation: 0,
            quarantine: None,
            status: Status::default(),
            changed_by: by.clone(),
            changed_at: WallTime(0),
            is_removed: false,
            by_hand: None,
            written: None,
        };
        object.put_spec(&spec, &[], ClusterTime(0), &by, WallTime(0));
        object
    }

    #[test]
    fn a_record_from_before_changes_by_hand_were_kept_is_completed_from_its_generations() {
        let mut object = object(json!({"instances": 1}).into());
        assert!(object.completed().is_none(), "nothing was changed");
        let alice = Principal::new("alice", "cli");
        let by_hand = json!({"instances": 2}).into();
        object.put_spec(&by_hand, &[], ClusterTime(1), &alice, WallTime(1));
        let completed = object.completed().unwrap();
        assert_eq!(completed.accepted_spec().value(), json!({"instances": 1}));
        let who = completed.by_hand.as_ref().unwrap().who("/spec/instances");
        assert_eq!(who, Some(&alice));
        assert!(completed.completed().is_none());
    }

    #[test]
    fn where_no_generation_says_what_git_asked_nobody_says_that_it_is_so() {
        let mut object = object(json!({"instances": 1}).into());
        let alice = Principal::new("alice", "cli");
        for n in 2..=2 + u64::try_from(KEPT_GENERATIONS).unwrap() {
            let by_hand = json!({"instances": n}).into();
            object.put_spec(&by_hand, &[], ClusterTime(n), &alice, WallTime(n));
        }
        assert!(object.generation_of(1).is_none());
        let completed = object.completed().unwrap();
        assert_eq!(completed.sync(), Sync::Unknown);
        assert!(completed.completed().is_none());
        // What was noted by hand since is taken back: it was laid over what is unknown.
        let mut noted = completed.clone();
        noted.by_hand = Some(Arc::new(ByHand {
            accepted: json!({"instances": 3}).into(),
            fields: Vec::new(),
        }));
        assert_eq!(noted.completed().unwrap().by_hand, None);
        // Nor does a change by hand make anything git's word.
        let mut changed = completed.clone();
        let by_hand = json!({"instances": 99}).into();
        changed.put_spec(&by_hand, &[], ClusterTime(99), &alice, WallTime(99));
        let field = HandField {
            path: "/spec/instances".to_owned(),
            by: alice,
            at: WallTime(99),
        };
        changed.note_hand(&completed.spec, field);
        assert_eq!((&changed.by_hand, changed.sync()), (&None, Sync::Unknown));
        // Git's word ends that.
        let mut accepted = completed.clone();
        let digest = accepted.spec.digest();
        accepted.take_word(digest, None);
        assert_eq!(accepted.sync(), Sync::Synced);
    }
}
