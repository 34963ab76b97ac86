//! The scheduler port of the kernel, on wasmtime.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kelson_kernel_core::port::{
    ForkTurns, LoadFault, Problem, SchedulerHost, SeatId, TurnFault, TurnOutcome, TurnRequest,
};
use kelson_model::framework::{Description, Limits};
use kelson_model::id::Digest;
use wasmtime::Engine;

use crate::cache::CompileCache;
use crate::component::{self, Loaded};
use crate::description;
use crate::engine::{self, Ticker};
use crate::instance::{Budget, Instance, Warm};
use crate::limits;
use crate::seats::Seats;

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
}

impl HostConfig {
    /// Takes the documented limits.
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            cache_dir: cache_dir.into(),
            turn_fuel: limits::TURN_FUEL,
            restore_fuel: limits::RESTORE_FUEL,
            turn_guard: limits::TURN_GUARD,
            restore_guard: limits::RESTORE_GUARD,
            tick: limits::TICK,
            warm_instances: limits::WARM_INSTANCES,
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
    components: Mutex<BTreeMap<Digest, Arc<Place>>>,
    seats: Seats,
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
            engine,
            cache,
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
        let compiled = match self.cache.get(&self.engine, digest) {
            Some(compiled) => compiled,
            None => {
                let held = Digest::of(content);
                if held != *digest {
                    return Err(LoadFault::NotAComponent(format!(
                        "its digest is {held}, not {digest}"
                    )));
                }
                let compiled = component::compile(&self.engine, content)?;
                self.cache.put(digest, &compiled);
                compiled
            }
        };
        let pre = component::link(&self.engine, &compiled)?;
        let described = Instance::start(&self.engine, &pre, limits, self.restore)
            .and_then(|mut instance| instance.describe(self.restore))
            .map_err(|fault| LoadFault::BadDescription(fault.to_string()))?;
        let description = description::parse(&described).map_err(LoadFault::BadDescription)?;
        Ok(Loaded {
            pre,
            limits: limits.clone(),
            description,
        })
    }

    /// Carries out one turn with an instance of `seats`.
    fn turn_among(&self, seats: &Seats, request: &TurnRequest) -> Result<TurnOutcome, TurnFault> {
        let loaded = self.loaded(&request.component, "turn")?;
        if request.is_throw_away {
            return self.restored(&loaded, request)?.turn(request, self.turn);
        }
        let mut lease = seats.lease(&request.seat);
        let mut instance = match lease.take() {
            Some(warm) if warm.is_fit_for(request) => warm.instance,
            _ => self.restored(&loaded, request)?,
        };
        let outcome = instance.turn(request, self.turn)?;
        lease.keep(Warm::new(instance, request, &outcome));
        Ok(outcome)
    }

    /// Makes an instance and restores it from the request's view.
    fn restored(&self, loaded: &Loaded, request: &TurnRequest) -> Result<Instance, TurnFault> {
        let mut instance =
            Instance::start(&self.engine, &loaded.pre, &request.limits, self.restore)?;
        instance.restore(request, self.restore)?;
        Ok(instance)
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
        self.turn_among(&self.seats, request)
    }

    fn query(
        &self,
        request: &TurnRequest,
        verb: &str,
        arguments: &str,
    ) -> Result<String, TurnFault> {
        let loaded = self.loaded(&request.component, "query")?;
        self.restored(&loaded, request)?
            .query(request, verb, arguments, self.turn)
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
        self.host.turn_among(&self.seats, request)
    }
}
