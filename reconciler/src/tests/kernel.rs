//! A kernel in memory: it stages, accepts, keeps reports and tells watchers; nothing runs in it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use kelson_model::code::Code;
use kelson_model::drift::{ByHand, DriftItem, DriftState, HandField, hands};
use kelson_model::framework::{Description, KindDescription};
use kelson_model::id::{Digest, Index, Revision};
use kelson_model::object::{DesiredObject, Namespace, ObjectKey};
use kelson_model::principal::Principal;
use kelson_model::request::{Accept, Answer, Refusal, Request, Stage};
use kelson_model::source::{self, Pruned, Release, SourceRecord};
use kelson_model::time::WallTime;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::client::{Asking, Batch, BatchStream, KernelPort, PortError, Row, RowKind};
use crate::stage::Part;

const SCHEMA: &str = include_str!("../../core/tests/fixtures/service.schema.json");

/// One object of the kernel.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) desired: DesiredObject,
    pub(super) generation: u64,
    pub(super) revision: Revision,
    pub(super) source: String,
    pub(super) changed_by: Principal,
    pub(super) by_hand: Option<ByHand>,
}

/// What goes wrong with the next request of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mishap {
    /// It never arrives.
    Lost,
    /// It is carried out, and its answer is lost.
    AnswerLost,
    /// It is refused, with this code.
    Refused(Code),
}

#[derive(Default)]
pub(super) struct State {
    pub(super) index: u64,
    pub(super) objects: BTreeMap<ObjectKey, Held>,
    pub(super) source: SourceRecord,
    pub(super) ledger: Vec<DriftItem>,
    pub(super) blobs: BTreeMap<Digest, Bytes>,
    pub(super) frameworks: BTreeMap<String, Value>,
    pub(super) tasks: BTreeMap<String, Value>,
    /// The kinds of requests that were carried out, in order.
    pub(super) requests: Vec<&'static str>,
    /// What a person was told.
    pub(super) notes: Vec<String>,
    /// The revisions that were accepted, in order.
    pub(super) accepted: Vec<Revision>,
    staged: Option<(Revision, Vec<Part>)>,
    mishaps: BTreeMap<&'static str, VecDeque<Mishap>>,
    on_request: BTreeMap<&'static str, Box<dyn FnOnce() + Send>>,
    log: Vec<(u64, Row)>,
    /// Watchers that began before this are told everything again.
    epoch: u64,
}

/// The kernel; clones are the same one.
#[derive(Clone)]
pub(super) struct Kernel {
    state: Arc<Mutex<State>>,
    version: Arc<watch::Sender<u64>>,
}

fn name_of(request: &Request) -> &'static str {
    match request {
        Request::Stage(_) => "stage",
        Request::Accept(_) => "accept",
        Request::ReportSource(_) => "report",
        Request::RecordDrift(_) => "drift",
        Request::SetField(_) => "set",
        Request::StopTask(_) => "stop",
        Request::Confirm(_) => "confirm",
        Request::SetNamespace(_) => "namespace",
    }
}

/// The framework of the box, with its kind Service.
pub(super) fn service_framework() -> Value {
    let mut row = framework("service", &["Service"]);
    row["builtIn"] = true.into();
    row
}

/// A framework that has described itself.
pub(super) fn framework(name: &str, kinds: &[&str]) -> Value {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let kinds = kinds
        .iter()
        .map(|kind| KindDescription {
            kind: (*kind).to_owned(),
            schema: schema.clone(),
            templates: vec![String::new()],
            count: Some("/instances".to_owned()),
        })
        .collect();
    let description = Description {
        name: name.to_owned(),
        version: "1".to_owned(),
        kinds,
        config_schema: None,
    };
    json!({"name": name, "namespace": "default", "builtIn": false, "component": null, "fault": null, "namespaces": [],
        "description": description})
}

fn refused(code: Code) -> Answer {
    Answer::Refused(Refusal {
        code: code.into(),
        message: "no".to_owned(),
        hint: "look again".to_owned(),
    })
}

impl Kernel {
    pub(super) fn new() -> Self {
        let kernel = Self {
            state: Arc::default(),
            version: Arc::new(watch::channel(0).0),
        };
        kernel.put_framework("service", service_framework());
        kernel
    }

    /// Looks at the state.
    pub(super) fn look<T>(&self, at: impl FnOnce(&State) -> T) -> T {
        at(&self.state.lock().unwrap())
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (answer, version) = {
            let mut state = self.state.lock().unwrap();
            let answer = change(&mut state);
            (answer, state.index + state.epoch * 1_000_000)
        };
        self.version
            .send_modify(|known| *known = version.max(*known + 1));
        answer
    }

    /// Waits until the state is as asked.
    pub(super) async fn until<T>(&self, what: &str, is_so: impl Fn(&State) -> Option<T>) -> T {
        let mut version = self.version.subscribe();
        let waiting = async {
            loop {
                version.borrow_and_update();
                if let Some(found) = self.look(&is_so) {
                    return found;
                }
                version.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(super::stand::DEADLINE, waiting).await {
            Ok(found) => found,
            Err(_) => self.look(|state| {
                panic!(
                    "never came: {what}; {:?}; {:?}; {:?}",
                    state.source,
                    state.requests,
                    state.objects.keys().collect::<Vec<_>>()
                )
            }),
        }
    }

    /// Keeps what a person is told.
    pub(super) fn note(&self, note: String) {
        self.change(|state| state.notes.push(note));
    }

    pub(super) fn put_framework(&self, name: &str, row: Value) {
        self.change(|state| {
            state.index += 1;
            let key = format!("{}/{name}", row["namespace"].as_str().unwrap());
            state.tell(RowKind::Framework, &key, Some(row.to_string()));
            state.frameworks.insert(key, row);
        });
    }

    pub(super) fn put_task(&self, id: &str, row: Value) {
        self.change(|state| {
            state.index += 1;
            state.tell(RowKind::Task, id, Some(row.to_string()));
            state.tasks.insert(id.to_owned(), row);
        });
    }

    /// Changes a field of a specification by hand.
    pub(super) fn set(&self, name: &str, pointer: &str, value: Value) {
        self.change(|state| {
            state.index += 1;
            let held = state
                .objects
                .values_mut()
                .find(|held| held.desired.key.name == name)
                .unwrap();
            let accepted = held.desired.spec.clone();
            let by_hand = held.by_hand.get_or_insert(ByHand {
                accepted,
                fields: Vec::new(),
            });
            by_hand.fields.push(HandField {
                path: format!("/spec{pointer}"),
                by: Principal::new("alice", "cli"),
                at: WallTime(1),
            });
            let mut spec = held.desired.spec.value();
            *spec.pointer_mut(pointer).unwrap() = value;
            held.desired.spec = spec.into();
            held.generation += 1;
            held.changed_by = Principal::new("alice", "cli");
            let key = held.desired.key.clone();
            state.tell_object(&key);
        });
    }

    /// As if another revision had been applied.
    pub(super) fn pretend_applied(&self, revision: Revision) {
        self.change(|state| {
            state.index += 1;
            state.source.applied = Some(revision);
            state.tell_source();
        });
    }

    /// Releases the hold of this reason.
    pub(super) fn confirm(&self, reason: &str) {
        self.change(|state| {
            state.index += 1;
            let held = |held: &&source::Held| held.reason.word() == reason;
            let held = state.source.holds.iter().find(held).unwrap();
            state.source.released.push(Release {
                reason: held.reason.clone(),
                digest: held.digest.clone().unwrap(),
            });
            state.tell_source();
        });
    }

    /// Lets the next request of a kind go wrong.
    pub(super) fn mishap(&self, request: &'static str, mishap: Mishap) {
        let mut state = self.state.lock().unwrap();
        state.mishaps.entry(request).or_default().push_back(mishap);
    }

    /// Runs something when the next request of a kind arrives, before it is carried out.
    pub(super) fn on(&self, request: &'static str, run: impl FnOnce() + Send + 'static) {
        let mut state = self.state.lock().unwrap();
        state.on_request.insert(request, Box::new(run));
    }

    /// Breaks all watches: each begins again.
    pub(super) fn break_watches(&self) {
        self.change(|state| state.epoch += 1);
    }

    fn carry_out(&self, request: Request) -> Result<Answer, PortError> {
        let name = name_of(&request);
        let first = self.state.lock().unwrap().on_request.remove(name);
        if let Some(run) = first {
            run();
        }
        let lost = || PortError::Unreachable {
            address: "memory".to_owned(),
            detail: "lost on purpose".to_owned(),
        };
        let mishap = {
            let mut state = self.state.lock().unwrap();
            state
                .mishaps
                .get_mut(name)
                .and_then(|mishaps| mishaps.pop_front())
        };
        match mishap {
            Some(Mishap::Lost) => return Err(lost()),
            Some(Mishap::Refused(code)) => return Ok(refused(code)),
            Some(Mishap::AnswerLost) | None => {}
        }
        let answer = self.change(|state| {
            state.requests.push(name);
            state.carry_out(request)
        });
        match mishap {
            Some(_) => Err(lost()),
            None => Ok(answer),
        }
    }
}

impl State {
    pub(super) fn names(&self) -> Vec<&str> {
        self.objects.keys().map(|key| &*key.name).collect()
    }

    pub(super) fn spec(&self, name: &str) -> Option<Value> {
        let held = self
            .objects
            .values()
            .find(|held| held.desired.key.name == name)?;
        Some(held.desired.spec.value())
    }

    pub(super) fn count(&self, request: &str) -> usize {
        self.requests.iter().filter(|it| **it == request).count()
    }

    pub(super) fn held(&self) -> Option<&str> {
        self.source.held.as_ref().map(|held| held.reason.word())
    }

    pub(super) fn open(&self) -> usize {
        let is_open = |item: &&DriftItem| item.state == DriftState::Open;
        self.ledger.iter().filter(is_open).count()
    }

    fn carry_out(&mut self, request: Request) -> Answer {
        self.index += 1;
        let answer = match request {
            Request::Stage(stage) => self.stage(stage),
            Request::Accept(accept) => self.accept(accept),
            Request::ReportSource(report) => {
                self.source.name = report.source;
                self.source.branch = report.branch;
                if self.source.observed != report.observed {
                    self.source.released.clear();
                }
                self.source.observed = report.observed;
                self.source.sync = report.sync;
                assert!(report.held.is_none(), "the only hold is one of the holds");
                self.source.held = report.holds.first().cloned();
                self.source.holds = report.holds;
                self.source.prune_window = report.prune_window;
                self.source.errors = report.errors;
                self.source.waiting_more = report.waiting_more;
                self.source.kept = report.kept;
                self.source.observed_by = report.observed_by;
                self.source.applied_by = report.applied_by;
                self.tell_source();
                None
            }
            Request::RecordDrift(update) => {
                assert!(update.is_delta);
                self.ledger.retain(|known| {
                    let is_told = update.items.iter().any(|item| item.is_same_as(known));
                    known.state == DriftState::Healed || !is_told
                });
                self.ledger.extend(update.items);
                let json = json!(self.ledger).to_string();
                self.tell(RowKind::Drift, "", Some(json));
                None
            }
            Request::SetField(_)
            | Request::StopTask(_)
            | Request::Confirm(_)
            | Request::SetNamespace(_) => Some(refused(Code::UnreadableRequest)),
        };
        answer.unwrap_or(Answer::Done {
            index: Index(self.index),
            generation: None,
        })
    }

    fn stage(&mut self, stage: Stage) -> Option<Answer> {
        assert!(serde_json::to_vec(&stage).unwrap().len() < 256 << 10);
        if stage.part == 0 {
            self.staged = Some((stage.revision.clone(), Vec::new()));
        }
        match &mut self.staged {
            Some((revision, parts))
                if *revision == stage.revision
                    && parts.len() == usize::try_from(stage.part).unwrap() =>
            {
                parts.push((stage.objects, stage.prune));
                None
            }
            _ => Some(refused(Code::NotStaged)),
        }
    }

    fn accept(&mut self, accept: Accept) -> Option<Answer> {
        if self.source.applied != accept.previous {
            return Some(refused(Code::StalePlan));
        }
        let (staged, going) = match &self.staged {
            Some((revision, parts))
                if *revision == accept.revision
                    && parts.len() == usize::try_from(accept.parts).unwrap() =>
            {
                let (set, going): (Vec<_>, Vec<_>) = parts.iter().cloned().unzip();
                (set.concat(), going.concat())
            }
            None if accept.parts == 0 => Default::default(),
            _ => return Some(refused(Code::NotStaged)),
        };
        let keys = staged.iter().map(|desired| &desired.key).chain(&going);
        let changed = keys.filter_map(|key| {
            let held = self.objects.get(key)?;
            held.by_hand.as_ref()?;
            Some((key, held.generation))
        });
        if accept.hands.is_some_and(|seen| seen != hands(changed)) {
            return Some(refused(Code::StalePlan));
        }
        let known: Vec<&Digest> = self.source.released.iter().map(|it| &it.digest).collect();
        if !accept.released.iter().all(|digest| known.contains(&digest)) {
            return Some(refused(Code::StalePlan));
        }
        let is_used = |release: &Release| accept.released.contains(&release.digest);
        self.source.released.retain(|release| !is_used(release));
        self.staged = None;
        assert_eq!(staged.len(), usize::try_from(accept.objects).unwrap());
        for desired in staged {
            let key = desired.key.clone();
            let before = self.objects.get(&key);
            let is_same = before.is_some_and(|before| before.desired.spec == desired.spec);
            let generation = before.map_or(0, |before| before.generation) + u64::from(!is_same);
            let changed_by = match before {
                Some(before) if is_same => before.changed_by.clone(),
                _ => Principal::reconciler(),
            };
            let held = Held {
                desired,
                generation,
                revision: accept.revision.clone(),
                source: accept.source.clone(),
                changed_by,
                by_hand: None,
            };
            self.objects.insert(key.clone(), held);
            self.tell_object(&key);
        }
        assert_eq!(going.len(), usize::try_from(accept.going).unwrap());
        if !going.is_empty() {
            self.source.pruned.push(Pruned {
                at: WallTime(u64::MAX),
                objects: accept.going,
            });
        }
        for key in going {
            self.objects.remove(&key);
            self.tell(RowKind::Object, &key.to_string(), None);
        }
        self.accepted.push(accept.revision.clone());
        self.source.name = accept.source;
        self.source.applied = Some(accept.revision);
        self.source.held = None;
        self.source.holds.clear();
        self.tell_source();
        None
    }

    fn tell(&mut self, kind: RowKind, key: &str, json: Option<String>) {
        let row = Row {
            kind,
            key: key.to_owned(),
            json,
        };
        self.log.push((self.index, row));
    }

    fn tell_source(&mut self) {
        let (name, json) = (self.source.name.clone(), json!(self.source).to_string());
        self.tell(RowKind::Source, &name, Some(json));
    }

    fn tell_object(&mut self, key: &ObjectKey) {
        let json = object_row(self.objects.get(key).unwrap());
        self.tell(RowKind::Object, &key.to_string(), Some(json));
    }

    fn all(&self) -> Vec<Row> {
        let row = |kind, key: &str, json: String| Row {
            kind,
            key: key.to_owned(),
            json: Some(json),
        };
        let mut rows = Vec::new();
        for (key, json) in &self.frameworks {
            rows.push(row(RowKind::Framework, key, json.to_string()));
        }
        for (key, held) in &self.objects {
            rows.push(row(RowKind::Object, &key.to_string(), object_row(held)));
        }
        for (key, json) in &self.tasks {
            rows.push(row(RowKind::Task, key, json.to_string()));
        }
        if !self.source.name.is_empty() {
            let json = json!(self.source).to_string();
            rows.push(row(RowKind::Source, &self.source.name, json));
        }
        rows.push(row(RowKind::Drift, "", json!(self.ledger).to_string()));
        rows
    }
}

fn object_row(held: &Held) -> String {
    let desired = &held.desired;
    json!({"key": desired.key, "labels": desired.labels, "lifecycle": desired.lifecycle, "origin": desired.origin,
        "spec": desired.spec, "generation": held.generation, "revision": held.revision, "source": held.source,
        "quarantine": null, "sync": "Synced", "health": "Healthy", "rollout": null, "changedBy": held.changed_by, "byHand": held.by_hand, "changedAt": 1, "isRemoved": false})
    .to_string()
}

impl KernelPort for Kernel {
    fn submit(&self, request: Request) -> Asking<'_, Answer> {
        Box::pin(async move { self.carry_out(request) })
    }

    fn watch(&self, kinds: &[RowKind]) -> BatchStream {
        let kinds = kinds.to_vec();
        let (kernel, version) = (self.clone(), self.version.subscribe());
        let begin: Option<(u64, u64)> = None;
        stream::unfold(
            (kernel, version, begin),
            move |(kernel, mut version, seen)| {
                let kinds = kinds.clone();
                async move {
                    loop {
                        version.borrow_and_update();
                        let batch = kernel.look(|state| {
                            let is_restart = seen.is_none_or(|(_, epoch)| epoch != state.epoch);
                            let after = seen.map_or(0, |(index, _)| index);
                            let mut rows: Vec<Row> = if is_restart {
                                state.all()
                            } else {
                                let new = state.log.iter().filter(|(index, _)| *index > after);
                                new.map(|(_, row)| row.clone()).collect()
                            };
                            rows.retain(|row| kinds.contains(&row.kind));
                            let batch = Batch {
                                index: Index(state.index),
                                is_restart,
                                is_current: true,
                                rows,
                            };
                            (batch, state.epoch)
                        });
                        let (batch, epoch) = batch;
                        if batch.is_restart || !batch.rows.is_empty() {
                            let seen = Some((batch.index.0, epoch));
                            return Some((batch, (kernel, version, seen)));
                        }
                        version.changed().await.ok()?;
                    }
                }
            },
        )
        .boxed()
    }

    fn missing_blobs(&self, digests: Vec<Digest>) -> Asking<'_, Vec<Digest>> {
        Box::pin(async move {
            Ok(self.change(|state| {
                state.requests.push("missing");
                let is_missing = |digest: &Digest| !state.blobs.contains_key(digest);
                digests.into_iter().filter(is_missing).collect()
            }))
        })
    }

    fn put_blob(&self, content: Bytes) -> Asking<'_, Digest> {
        Box::pin(async move {
            let digest = Digest::of(&content);
            self.change(|state| {
                state.requests.push("blob");
                state.blobs.insert(digest.clone(), content);
            });
            Ok(digest)
        })
    }
}

/// The key of a Service in `shop`.
pub(super) fn service_key(name: &str) -> ObjectKey {
    let shop: Namespace = "shop".parse().unwrap();
    ObjectKey::new("Service", shop, name)
}
