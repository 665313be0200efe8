//! Paths as they were declared, where a scope has but what the client has sent, or no path at all.
//!
//! Of paths that clients send there is no end, and each would be a route of its own.

use std::cell::RefCell;
use std::collections::HashMap;

use pyo3::prelude::*;

use super::Watch;

/// The mounts' patterns, by the paths at which requests have come to them.
#[derive(Default)]
pub(super) struct MountPatterns(RefCell<Known>);

#[derive(Default)]
struct Known {
    router: Option<Py<PyAny>>,
    patterns: HashMap<String, String>,
}

impl Watch {
    /// The pattern of the mount at which a request has come to an application, by the path that it has come `below`; that path
    /// if no mount of the router's is found.
    pub(crate) fn mount_pattern(&self, router: Option<&Bound<'_, PyAny>>, below: &str) -> String {
        let Some(router) = router.filter(|_| !below.is_empty()) else { return below.to_owned() };
        self.mounts.get(router, below)
    }
}

impl MountPatterns {
    fn get(&self, router: &Bound<'_, PyAny>, below: &str) -> String {
        let is_known = |known: &Known| known.router.as_ref().is_some_and(|known| known.is(router));
        if let Some(pattern) =
            Some(self.0.borrow()).filter(|known| is_known(known)).and_then(|known| known.patterns.get(below).cloned())
        {
            return pattern;
        }
        let pattern = mount_of(router, below, 0).ok().flatten().unwrap_or_else(|| below.to_owned());
        let mut known = self.0.borrow_mut();
        let mut forgotten = None;
        if !is_known(&known) || known.patterns.len() >= MOST_PATHS {
            forgotten = known.router.replace(router.clone().unbind());
            known.patterns.clear();
        }
        known.patterns.insert(below.to_owned(), pattern.clone());
        drop(known);
        // Code of the user's may run when the last reference to a router goes.
        drop(forgotten);
        pattern
    }
}

/// The pattern of the mount that takes all of `path`, perhaps within others.
fn mount_of(router: &Bound<'_, PyAny>, path: &str, depth: usize) -> PyResult<Option<String>> {
    let py = router.py();
    if depth >= DEEPEST {
        return Ok(None);
    }
    for route in routes_of(router)? {
        if is_host(&route)? {
            if let Some(found) = mount_of(&route, path, depth + 1)? {
                return Ok(Some(found));
            }
        } else if let Some(own) = mount_pattern(&route)? {
            let regex = route.getattr(pyo3::intern!(py, "path_regex"))?;
            let found = regex.call_method1(pyo3::intern!(py, "match"), (format!("{path}/"),))?;
            if found.is_none() {
                continue;
            }
            let rest: String = found.call_method1(pyo3::intern!(py, "group"), ("path",))?.extract()?;
            let Some(rest) = rest.strip_suffix('/') else { return Ok(Some(own)) };
            if let Some(deeper) = mount_of(&route, &format!("/{rest}"), depth + 1)? {
                return Ok(Some(own + &deeper));
            }
        }
    }
    Ok(None)
}

/// The path at which a router has an endpoint, or the application of a mount; `None` unless there is one such path.
pub(super) fn path_of(router: &Bound<'_, PyAny>, endpoint: &Bound<'_, PyAny>) -> Option<String> {
    let mut found = Vec::new();
    add_paths(router, endpoint, "", 0, &mut found).ok()?;
    found.dedup();
    let path = found.pop().filter(|_| found.is_empty())?;
    Some(if path.is_empty() { "/".to_owned() } else { path })
}

fn add_paths(
    router: &Bound<'_, PyAny>,
    endpoint: &Bound<'_, PyAny>,
    below: &str,
    depth: usize,
    found: &mut Vec<String>,
) -> PyResult<()> {
    let py = router.py();
    if depth >= DEEPEST {
        return Ok(());
    }
    let is_it = |route: &Bound<'_, PyAny>, name| {
        PyResult::Ok(route.getattr_opt(name)?.is_some_and(|its: Bound<'_, PyAny>| its.is(endpoint)))
    };
    for route in routes_of(router)? {
        if is_host(&route)? {
            add_paths(&route, endpoint, below, depth + 1, found)?;
        } else if let Some(own) = mount_pattern(&route)? {
            let path = format!("{below}{own}");
            if is_it(&route, pyo3::intern!(py, "app"))? {
                found.push(path.clone());
            }
            add_paths(&route, endpoint, &path, depth + 1, found)?;
        } else if is_it(&route, pyo3::intern!(py, "endpoint"))? {
            found.push(format!("{below}{}", path_format(&route)?));
        }
    }
    Ok(())
}

/// The path of a route as OpenAPI has it: with its parameters in braces, and without how they are converted.
pub(crate) fn path_format(route: &Bound<'_, PyAny>) -> PyResult<String> {
    let py = route.py();
    let path = match route.getattr_opt(pyo3::intern!(py, "path_format"))? {
        Some(path) if !path.is_none() => path,
        _ => route.getattr(pyo3::intern!(py, "path"))?,
    };
    Ok(path.str()?.to_string_lossy().into_owned())
}

/// The path of a mount, likewise; `None` for any other route.
pub(crate) fn mount_pattern(route: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    let py = route.py();
    if !route.hasattr(pyo3::intern!(py, "routes"))? || !route.hasattr(pyo3::intern!(py, "path_regex"))? {
        return Ok(None);
    }
    Ok(path_format(route)?.strip_suffix("/{path}").map(str::to_owned))
}

fn is_host(route: &Bound<'_, PyAny>) -> PyResult<bool> {
    route.hasattr(pyo3::intern!(route.py(), "host_regex"))
}

/// The routes of a router, a mount or a host; those of an included router as they stand with its prefix.
fn routes_of<'py>(router: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let py = router.py();
    let mut routes = Vec::new();
    let Some(all) = router.getattr_opt(pyo3::intern!(py, "routes"))? else { return Ok(routes) };
    for route in all.try_iter()? {
        let route = route?;
        let Some(contexts) = route.getattr_opt(pyo3::intern!(py, "effective_route_contexts"))? else {
            routes.push(route);
            continue;
        };
        for context in contexts.call0()?.try_iter()? {
            let own = context?.getattr_opt(pyo3::intern!(py, "starlette_route"))?;
            // FastAPI's own routes have none: they are in the scope.
            routes.extend(own.filter(|own| !own.is_none()));
        }
    }
    Ok(routes)
}

/// An application may be mounted in itself.
const DEEPEST: usize = 16;
/// Of the paths that clients send no more are kept.
const MOST_PATHS: usize = 1024;
