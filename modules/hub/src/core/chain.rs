//! Nested edges: a gateway that stands in for somebody below it shows its own credential, and the chain of gateways in
//! between (`auth-chain`: `leaf;edge1;edge2`).

use isotherm_iothub::Identity;
use jiff::Timestamp;

use super::people::Person;
use super::{Authenticated, Core, Credential, Unauthorized};

/// Longest chain; IoT Edge nests five layers deep, and the first of these is who comes.
const LINKS_MAX: usize = 6;

impl Core {
    /// Decides whether a peer may be `who`, by `who`'s own credential or by that of the gateway at the end of the chain.
    ///
    /// # Errors
    /// Why not; counted as by [`authenticate`](Core::authenticate).
    pub fn authenticate_through(
        &self,
        who: &Identity,
        chain: Option<&str>,
        credential: Credential<'_>,
        wall: Timestamp,
    ) -> Result<Authenticated, Unauthorized> {
        let decided = self.decide(who, credential, wall);
        let others = [Unauthorized::Audience, Unauthorized::Signature, Unauthorized::Certificate];
        let decided = match (decided, chain) {
            (Err(why), Some(chain)) if others.contains(&why) => match self.gateway(who, chain) {
                Some(gateway) => self.decide(&gateway, credential, wall),
                None => Err(Unauthorized::Chain),
            },
            (decided, _) => decided,
        };
        decided.inspect_err(|why| self.counters.count(why.counter()))
    }

    /// The `$edgeHub` at the end of a chain, if every link of it holds and nobody on it is disabled.
    pub fn gateway(&self, who: &Identity, chain: &str) -> Option<Identity> {
        let links: Vec<Identity> =
            chain.split(';').take(LINKS_MAX + 1).map(str::parse).collect::<Result<_, _>>().ok()?;
        let first = links.first().filter(|first| *first == who || **first == who.owner())?;
        let mut below = self.people.get(first).filter(|_| links.len() <= LINKS_MAX)?;
        for link in &links[1..] {
            let above = self.people.get(link).filter(|above| above.record.enabled)?;
            if !is_under(below, above) {
                return None;
            }
            below = above;
        }
        let last = links.last().filter(|last| **last != who.owner() && last.module_id().is_none())?;
        Identity::module(last.device_id(), "$edgeHub").ok()
    }
}

/// A module is under its device, a device under the edge in whose scope it is.
fn is_under(below: &Person, above: &Person) -> bool {
    if below.who.module_id().is_some() {
        return below.who.owner() == above.who;
    }
    let Some(scope) = above.record.scope.as_ref().filter(|_| above.record.edge) else { return false };
    below.record.parents.contains(scope) || (!below.record.edge && below.record.scope.as_ref() == Some(scope))
}
