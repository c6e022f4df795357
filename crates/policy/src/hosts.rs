//! Values under hosts and wildcards of hosts: an exact host beats a wildcard, of wildcards the longest counts, and `*.foo.com` does
//! not match `foo.com`.

use std::collections::HashMap;

/// Several values a host, and no host without any.
#[derive(Debug, PartialEq)]
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
    /// The values of exactly this host, to which the caller adds one.
    pub(crate) fn of_mut(&mut self, host: &str) -> &mut Vec<T> {
        let (map, key) = self.place(host);
        map.entry(key.to_owned()).or_default()
    }

    /// Drops those values of a host that are not kept.
    pub(crate) fn retain_of(&mut self, host: &str, keep: impl FnMut(&T) -> bool) {
        let (map, key) = self.place(host);
        if let Some(values) = map.get_mut(key) {
            values.retain(keep);
            if values.is_empty() {
                map.remove(key);
            }
        }
    }

    fn place<'h>(&mut self, host: &'h str) -> (&mut HashMap<String, Vec<T>>, &'h str) {
        match host.strip_prefix('*') {
            Some(suffix) => (&mut self.wild, suffix),
            None => (&mut self.exact, host),
        }
    }

    /// Drops those values of all hosts that are not kept.
    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        for map in [&mut self.exact, &mut self.wild] {
            map.retain(|_, values| {
                values.retain(&keep);
                !values.is_empty()
            });
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
