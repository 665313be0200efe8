//! The places of routes that requests find on their own way through the application, by the identity of what is in the scope.
//!
//! To describe an endpoint takes Python, and costs as much as a small middleware.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use pyo3::prelude::*;

use super::{PlaceCache, Watch, declared};

/// See the [module](self).
#[derive(Default)]
pub(super) struct RoutesByScope(RefCell<HashMap<(usize, usize), Rc<ScopedRoute>>>);

struct ScopedRoute {
    endpoint: Py<PyAny>,
    /// Kept, so that nothing else comes to have its identity.
    _route: Option<Py<PyAny>>,
    /// The path, without what the application is mounted below.
    path: String,
    place: PlaceCache,
}

impl Watch {
    /// The place of a route by what a scope holds of it; `below`: where its application is mounted. Without the route the path
    /// is looked for in the `router`.
    ///
    /// # Errors
    /// The route has no path.
    pub(crate) fn found_place(
        &self,
        py: Python<'_>,
        method: &str,
        below: &str,
        endpoint: &Bound<'_, PyAny>,
        route: Option<&Bound<'_, PyAny>>,
        router: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<usize> {
        let path = || match route {
            Some(route) => declared::path_format(route),
            None => Ok(router.and_then(|router| declared::path_of(router, endpoint)).unwrap_or_else(|| {
                // What the endpoint is called tells it apart from others that have no route.
                let name = self.described(endpoint).map_or_else(|| "endpoint".to_owned(), |described| described.0);
                format!("({name})")
            })),
        };
        let found = self.by_scope.get(endpoint, route, path)?;
        let describe = || (found.path.clone(), Some(found.endpoint.bind(py).clone()));
        Ok(self.cached_place(&found.place, method, below, describe))
    }
}

impl RoutesByScope {
    fn get(
        &self,
        endpoint: &Bound<'_, PyAny>,
        route: Option<&Bound<'_, PyAny>>,
        path: impl FnOnce() -> PyResult<String>,
    ) -> PyResult<Rc<ScopedRoute>> {
        let key = (endpoint.as_ptr() as usize, route.map_or(0, |route| route.as_ptr() as usize));
        if let Some(found) = self.0.borrow().get(&key) {
            return Ok(found.clone());
        }
        let path = path()?;
        let endpoint = endpoint.clone().unbind();
        let route = route.map(|route| route.clone().unbind());
        let found = Rc::new(ScopedRoute { endpoint, _route: route, path, place: PlaceCache::default() });
        let is_full = self.0.borrow().len() >= MOST_ROUTES;
        let forgotten = is_full.then(|| self.0.take());
        let replaced = self.0.borrow_mut().insert(key, found.clone());
        // Code of the user's may run when the last reference to an endpoint goes.
        drop((forgotten, replaced));
        Ok(found)
    }
}

/// Who makes an endpoint a request has them looked at each time, and no more than so many kept.
const MOST_ROUTES: usize = 1024;
