//! `dependency_overrides`: a variant of a plan for each mapping that is in force when its route is asked for.
//!
//! FastAPI looks into the mapping for every dependency of every request, and the mapping may change, or be another, between any
//! two of them. So its items are compared before every request, as objects; nothing of the user's runs for that. A variant
//! holds the functions it was made of, so only the last few are kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use pyo3::{PyTraverseError, PyVisit};

use super::spec::{OverridesSpec, PlanSpec};
use super::table::Plan;

/// Where the overrides of a plan are found, and what was made of them.
pub(crate) struct Overrides {
    /// The object whose `dependency_overrides` count for the route.
    provider: Py<PyAny>,
    /// `(mapping) -> Plan | str`: the plan with overrides, or the reason why there is none
    vary: Py<PyAny>,
    /// The last used is the last.
    variants: Mutex<Vec<Variant>>,
}

struct Variant {
    /// Of the mapping, in its order.
    items: Vec<(Py<PyAny>, Py<PyAny>)>,
    made: Result<Arc<Plan>, String>,
}

/// How many mappings are remembered for a route.
const REMEMBERED: usize = 4;

impl Overrides {
    pub(crate) fn new(spec: OverridesSpec) -> Overrides {
        Overrides { provider: spec.provider, vary: spec.vary, variants: Mutex::default() }
    }

    /// The variant of `plan` for what is in force now, or the reason why FastAPI's own code has to answer.
    pub(crate) fn choose(&self, py: Python<'_>, plan: &Arc<Plan>) -> Result<Arc<Plan>, String> {
        let Ok(overrides) = self.provider.bind(py).getattr(pyo3::intern!(py, "dependency_overrides")) else {
            return Err("dependency_overrides that cannot be read".to_owned());
        };
        match overrides.cast_exact::<PyDict>() {
            Ok(overrides) if overrides.is_empty() => Ok(plan.clone()),
            Ok(overrides) => self.variant(py, overrides),
            Err(_) if overrides.is_truthy().is_ok_and(|truth| !truth) => Ok(plan.clone()),
            Err(_) => Err("dependency_overrides that are no plain dict".to_owned()),
        }
    }

    fn variant(&self, py: Python<'_>, overrides: &Bound<'_, PyDict>) -> Result<Arc<Plan>, String> {
        if let Some(known) = self.known(overrides) {
            return known;
        }
        let items = overrides.iter().map(|(key, value)| (key.unbind(), value.unbind())).collect();
        // What an override cannot be used for, FastAPI says itself, when the request gets there.
        let made = self.make(py, overrides).unwrap_or_else(|_| Err("an override that FastAPI refuses".to_owned()));
        let mut variants = self.lock();
        let forgotten = (variants.len() >= REMEMBERED).then(|| variants.remove(0));
        variants.push(Variant { items, made: made.clone() });
        drop(variants);
        // Code of the user's may run when the last reference to a function goes.
        drop(forgotten);
        made
    }

    fn known(&self, overrides: &Bound<'_, PyDict>) -> Option<Result<Arc<Plan>, String>> {
        let mut variants = self.lock();
        let place = variants.iter().rposition(|variant| variant.is_of(overrides))?;
        if place + 1 < variants.len() {
            let used = variants.remove(place);
            variants.push(used);
        }
        variants.last().map(|variant| variant.made.clone())
    }

    fn make(&self, py: Python<'_>, overrides: &Bound<'_, PyDict>) -> PyResult<Result<Arc<Plan>, String>> {
        // A copy: the user's own may be changed by another thread meanwhile.
        let made = self.vary.bind(py).call1((overrides.copy()?,))?;
        if let Ok(reason) = made.cast::<PyString>() {
            return Ok(Err(reason.to_str()?.to_owned()));
        }
        Ok(Ok(Arc::new(Plan::new(py, made.extract::<PlanSpec>()?)?)))
    }

    /// No Python code runs while it is held.
    fn lock(&self) -> MutexGuard<'_, Vec<Variant>> {
        self.variants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the garbage collector.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.provider)?;
        visit.call(&self.vary)?;
        let Ok(variants) = self.variants.try_lock() else { return Ok(()) };
        for variant in &*variants {
            for (key, value) in &variant.items {
                visit.call(key)?;
                visit.call(value)?;
            }
            // A request that goes through it keeps the plans as a whole.
            variant.made.as_ref().map_or(Ok(()), |plan| plan.traverse(visit))?;
        }
        Ok(())
    }
}

impl Variant {
    fn is_of(&self, overrides: &Bound<'_, PyDict>) -> bool {
        self.items.len() == overrides.len()
            && self
                .items
                .iter()
                .zip(overrides.iter())
                .all(|((key, value), (other_key, other_value))| key.is(&other_key) && value.is(&other_value))
    }
}
