//! Values under hosts and wildcards of hosts: an exact host beats a wildcard, of wildcards the longest counts, and `*.foo.com` does
//! not match `foo.com`.

use std::collections::HashMap;

/// Several values a host.
#[derive(Debug)]
pub(crate) struct Hosts<T> {
    exact: HashMap<String, Vec<T>>,
    /// By what follows the star.
    wild: HashMap<String, Vec<T>>,
}

impl<T> Default for Hosts<T> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            wild: HashMap::new(),
        }
    }
}

impl<T> Hosts<T> {
    /// Puts a value behind those of the same host.
    pub(crate) fn push(&mut self, host: &str, value: T) {
        let (map, key) = match host.strip_prefix('*') {
            Some(suffix) => (&mut self.wild, suffix),
            None => (&mut self.exact, host),
        };
        match map.get_mut(key) {
            Some(values) => values.push(value),
            None => drop(map.insert(key.to_owned(), vec![value])),
        }
    }

    /// The values of each host that matches, the nearest first.
    pub(crate) fn matching<'t, 'h>(
        &'t self,
        host: &'h str,
    ) -> impl Iterator<Item = &'t [T]> + use<'t, 'h, T> {
        let exact = self.exact.get(host).into_iter();
        let suffixes = host
            .match_indices('.')
            .map(|(at, _)| &host[at..])
            .chain(std::iter::once(""));
        let wild = suffixes.filter_map(|suffix| self.wild.get(suffix));
        exact.chain(wild).map(Vec::as_slice)
    }

    /// Every host with its values, in no order.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &[T]> {
        self.exact.values().chain(self.wild.values()).map(Vec::as_slice)
    }
}
