//! The scheduler port of the kernel, on wasmtime.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kelson_kernel_core::port::{
    ForkTurns, LoadFault, LogLine, Problem, SchedulerHost, SeatId, TurnFault, TurnOutcome,
    TurnRequest,
};
use kelson_model::framework::{Description, Limits, LogLevel};
use kelson_model::id::Digest;
use kelson_model::object::{Namespace, ObjectKey};
use kelson_model::text;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::cache::{CompileCache, Verdict};
use crate::compiler::{CompileFault, Compiler};
use crate::component::{self, Loaded};
use crate::description;
use crate::engine::{self, Ticker};
use crate::instance::{Budget, Instance, Warm};
use crate::limits;
use crate::lines::Lines;
use crate::seats::Seats;
use crate::trusted;

/// What a host is made with.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// The folder of compiled components; it is made, and closed to other users.
    pub cache_dir: PathBuf,
    /// Fuel of a turn, a query or a validation; each row shown adds to it.
    pub turn_fuel: u64,
    /// Fuel of `restore`, of `describe`, and of what a component runs when it is instantiated.
    pub restore_fuel: u64,
    /// How much time of a processor a turn may take.
    pub turn_guard: Duration,
    /// How much time of a processor `restore` may take.
    pub restore_guard: Duration,
    /// How often it is looked whether a guard is over.
    pub tick: Duration,
    /// Seats whose instance is kept between turns.
    pub warm_instances: usize,
    /// Where components are compiled.
    pub compiler: Compiler,
}

impl HostConfig {
    /// Takes the documented limits, and compiles in this process.
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            cache_dir: cache_dir.into(),
            turn_fuel: limits::TURN_FUEL,
            restore_fuel: limits::RESTORE_FUEL,
            turn_guard: limits::TURN_GUARD,
            restore_guard: limits::RESTORE_GUARD,
            tick: limits::TICK,
            warm_instances: limits::WARM_INSTANCES,
            compiler: Compiler::Here,
        }
    }
}

/// Why a host could not be made.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The folder of compiled components cannot be used.
    #[error("cannot use the folder of compiled schedulers {}: {source}", folder.display())]
    Cache {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The sandbox cannot run on this machine.
    #[error("cannot make the sandbox of schedulers: {0}")]
    Engine(String),
    /// The thread of the guard's clock could not be started.
    #[error("cannot start the guard of schedulers: {0}")]
    Ticker(std::io::Error),
}

/// A host of scheduler components; see the crate's documentation.
pub struct WasmHost {
    engine: Engine,
    cache: CompileCache,
    compiler: Compiler,
    components: Mutex<BTreeMap<Digest, Arc<Place>>>,
    seats: Seats,
    lines: Mutex<Lines>,
    turn: Budget,
    restore: Budget,
    _ticker: Ticker,
}

/// Where a component is, or will be once somebody has compiled it.
type Place = Mutex<Option<Arc<Loaded>>>;

impl WasmHost {
    /// Makes a host: its engine, its cache, and the thread of its guard, which ends with it.
    ///
    /// # Errors
    /// The cache's folder cannot be used, or the machine cannot run the sandbox.
    pub fn new(config: HostConfig) -> Result<Self, HostError> {
        let engine = engine::make().map_err(|error| HostError::Engine(format!("{error:#}")))?;
        let cache =
            CompileCache::open(&config.cache_dir, &engine).map_err(|source| HostError::Cache {
                folder: config.cache_dir.clone(),
                source,
            })?;
        let ticker = Ticker::spawn(&engine, config.tick).map_err(HostError::Ticker)?;
        let budget = |fuel, guard: Duration| Budget { fuel, cpu: guard };
        Ok(Self {
            turn: budget(config.turn_fuel, config.turn_guard),
            restore: budget(config.restore_fuel, config.restore_guard),
            seats: Seats::new(config.warm_instances),
            components: Mutex::default(),
            lines: Mutex::default(),
            engine,
            cache,
            compiler: config.compiler,
            _ticker: ticker,
        })
    }

    /// Lets go of a component that no framework uses any more. Its compiled form stays on disk.
    pub fn unload(&self, component: &Digest) {
        let unloaded = self.components().remove(component);
        drop(unloaded);
    }

    fn components(&self) -> MutexGuard<'_, BTreeMap<Digest, Arc<Place>>> {
        self.components
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, digest: &Digest) -> Arc<Place> {
        Arc::clone(self.components().entry(digest.clone()).or_default())
    }

    fn loaded(&self, digest: &Digest, call: &'static str) -> Result<Arc<Loaded>, TurnFault> {
        let place = self.components().get(digest).map(Arc::clone);
        place
            .and_then(|place| place.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .ok_or_else(|| TurnFault::Failed {
                call,
                message: format!("the component {digest} is not loaded"),
            })
    }

    fn make(&self, digest: &Digest, content: &[u8], limits: &Limits) -> Result<Loaded, LoadFault> {
        let terms = self.compiler.terms();
        let compiled = match self.cache.verdict(&self.engine, digest, &terms) {
            Some(Verdict::Good(compiled)) => compiled,
            Some(Verdict::Bad(fault)) => return Err(fault),
            None => self.compile(digest, content, &terms)?,
        };
        let pre = component::link(&self.engine, &compiled)?;
        let described = Instance::start(&self.engine, &pre, limits, self.restore)
            .and_then(|mut instance| instance.describe(self.restore))
            .map_err(|fault| LoadFault::BadDescription(fault.to_string()))?;
        let description = description::parse(&described)
            .map_err(|reason| LoadFault::BadDescription(text::message(&reason)))?;
        Ok(Loaded {
            pre,
            limits: limits.clone(),
            description,
        })
    }

    /// Carries out one turn with an instance of `seats`. What the scheduler writes is kept for its
    /// author where the turn is no preview.
    fn turn_among(
        &self,
        seats: &Seats,
        request: &TurnRequest,
        keeps_lines: bool,
    ) -> Result<TurnOutcome, TurnFault> {
        let loaded = self.loaded(&request.component, "turn")?;
        if request.is_throw_away {
            return self
                .restored(&loaded, request, false)?
                .turn(request, self.turn);
        }
        let mut lease = seats.lease(&request.seat);
        let mut instance = match lease.take() {
            Some(warm) if warm.is_fit_for(request) => warm.instance,
            _ => self.restored(&loaded, request, keeps_lines)?,
        };
        let outcome = instance.turn(request, self.turn);
        if keeps_lines {
            match &outcome {
                Ok(outcome) => self.keep_lines(request, outcome.log.clone(), None),
                Err(fault) => self.keep_lines(request, instance.take_lines(), Some(fault)),
            }
        }
        let outcome = outcome?;
        // What has said more than was noted believes what is not so.
        if !instance.is_full {
            lease.keep(Warm::new(instance, request, &outcome));
        }
        Ok(outcome)
    }

    /// Compiles a component, and keeps what came of it.
    fn compile(
        &self,
        digest: &Digest,
        content: &[u8],
        terms: &str,
    ) -> Result<Component, LoadFault> {
        let held = Digest::of(content);
        if held != *digest {
            return Err(LoadFault::NotAComponent(format!(
                "its digest is {held}, not {digest}"
            )));
        }
        let (input, output) = self.cache.scratch();
        let compiled = self
            .compiler
            .compile(&self.engine, content, &input, &output)
            .and_then(|code| {
                trusted::component(&self.engine, &code)
                    .map(|component| (component, code))
                    .map_err(|error| CompileFault::Machine(format!("{error:#}")))
            });
        match compiled {
            Ok((component, code)) => {
                self.cache.put(digest, &code);
                Ok(component)
            }
            Err(fault) => {
                if let CompileFault::Component(fault) = &fault {
                    self.cache.put_bad(digest, terms, fault);
                }
                Err(fault.into_load_fault())
            }
        }
    }

    /// Makes an instance and restores it from the request's view.
    fn restored(
        &self,
        loaded: &Loaded,
        request: &TurnRequest,
        keeps_lines: bool,
    ) -> Result<Instance, TurnFault> {
        let mut instance =
            Instance::start(&self.engine, &loaded.pre, &request.limits, self.restore)?;
        if let Err(fault) = instance.restore(request, self.restore) {
            if keeps_lines {
                self.keep_lines(request, instance.take_lines(), Some(&fault));
            }
            return Err(fault);
        }
        Ok(instance)
    }

    /// Keeps what was written for the author.
    fn keep_lines(
        &self,
        request: &TurnRequest,
        lines: Vec<(LogLevel, String)>,
        fault: Option<&TurnFault>,
    ) {
        let mut kept = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        kept.keep(request, lines, fault);
    }
}

impl SchedulerHost for WasmHost {
    fn load(
        &self,
        digest: &Digest,
        component: &[u8],
        limits: &Limits,
    ) -> Result<Description, LoadFault> {
        let place = self.place(digest);
        // Held while compiling: whoever loads the same component meanwhile gets the result.
        let mut content = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = content.as_ref() {
            return Ok(loaded.description.clone());
        }
        match self.make(digest, component, limits) {
            Ok(loaded) => {
                let description = loaded.description.clone();
                tracing::info!(component = %digest, framework = %description.name, version = %description.version, "loaded a scheduler");
                *content = Some(Arc::new(loaded));
                // Another caller's failure may have taken the place away meanwhile.
                self.components().insert(digest.clone(), Arc::clone(&place));
                Ok(description)
            }
            Err(fault) => {
                self.components().remove(digest);
                Err(fault)
            }
        }
    }

    fn validate(
        &self,
        component: &Digest,
        kind: &str,
        spec: &str,
    ) -> Result<Vec<Problem>, TurnFault> {
        let loaded = self.loaded(component, "validate")?;
        Instance::start(&self.engine, &loaded.pre, &loaded.limits, self.restore)?
            .validate(kind, spec, self.turn)
    }

    fn turn(&self, request: &TurnRequest) -> Result<TurnOutcome, TurnFault> {
        self.turn_among(&self.seats, request, true)
    }

    fn query(
        &self,
        request: &TurnRequest,
        verb: &str,
        arguments: &str,
    ) -> Result<String, TurnFault> {
        let loaded = self.loaded(&request.component, "query")?;
        self.restored(&loaded, request, false)?
            .query(request, verb, arguments, self.turn)
    }

    fn log_lines(&self, framework: &ObjectKey, namespace: Option<&Namespace>) -> Vec<LogLine> {
        let kept = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        kept.of(framework, namespace)
    }

    fn drop_instance(&self, seat: &SeatId) {
        self.seats.drop_instance(seat);
    }

    fn fork(&self) -> Box<dyn ForkTurns + '_> {
        Box::new(OnFork {
            host: self,
            seats: Seats::new(limits::FORK_INSTANCES),
        })
    }
}

/// The instances of one fork.
struct OnFork<'a> {
    host: &'a WasmHost,
    seats: Seats,
}

impl ForkTurns for OnFork<'_> {
    fn turn(&self, request: &TurnRequest) -> Result<TurnOutcome, TurnFault> {
        self.host.turn_among(&self.seats, request, false)
    }
}
