//! The audit: what must be true of a store, however often the service died. Panics with what is not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use volery::letters::DeadFilter;
use volery::prelude::*;
use volery::store::Store;
use volery::{Artifact, Kind, Outcome, Payload, Timestamp};

use crate::service::{
    Ack, Bundle, Done, Flaky, Item, Left, OPEN_FOR, Order, Paired, Parcel, Priced, Right, Shipped, Slow,
    is_hopeless,
};

/// Every artifact of a store, in log order, and what became of each.
pub(crate) struct Audit {
    artifacts: Vec<Arc<Artifact>>,
    /// Subscription and outcome, by id of the artifact.
    claims: BTreeMap<String, Vec<(String, Option<Outcome>)>>,
    dead: u64,
}

impl Audit {
    pub(crate) async fn of(store: &dyn Store) -> volery::Result<Self> {
        let (mut artifacts, mut claims) = (Vec::new(), BTreeMap::new());
        let mut filter = Filter::all().limit(1_000);
        loop {
            let page = store.find(&filter).await?;
            artifacts.extend(page.artifacts);
            let Some(next) = page.next else { break };
            filter = filter.after(next);
        }
        for artifact in &artifacts {
            let lineage = store.lineage(artifact.id()).await?.expect("what is listed has a lineage");
            let found = lineage.claims.into_iter().map(|claim| (claim.subscription, claim.outcome)).collect();
            let twice = claims.insert(artifact.id().to_string(), found);
            assert!(twice.is_none(), "artifact {} stands twice in the log", artifact.id());
        }
        let mut dead = 0;
        while let Some(last) = store.dead_letters(&DeadFilter::all().after(dead).limit(1_000)).await?.last() {
            dead = last.number;
        }
        Ok(Self { artifacts, claims, dead })
    }

    /// Every acknowledged artifact is there, in its place.
    pub(crate) fn nothing_acknowledged_is_lost(&self, acks: &[Ack]) {
        let lost = self.lost(acks);
        assert!(lost.is_empty(), "{} of {} acknowledged are lost: {lost:?}", lost.len(), acks.len());
    }

    /// Acknowledged artifacts that are not there, or in another place.
    pub(crate) fn lost<'a>(&self, acks: &'a [Ack]) -> Vec<&'a Ack> {
        let place = |artifact: &Arc<Artifact>| (artifact.id().to_string(), artifact.offset().to_string());
        let there: BTreeMap<String, String> = self.artifacts.iter().map(place).collect();
        acks.iter().filter(|ack| there.get(&ack.id) != Some(&ack.offset)).collect()
    }

    /// A group is there or is not; nothing was published twice.
    pub(crate) fn is_consistent(&self) {
        let items = self.numbers::<Item>(|item| item.n);
        for n in self.numbers::<Flaky>(|flaky| flaky.n) {
            assert!(items.contains(&n), "half of a group was published: {n}");
        }
        self.numbers::<Order>(|order| order.n);
        self.numbers::<Priced>(|priced| priced.n);
        self.numbers::<Shipped>(|shipped| shipped.n);
        self.numbers::<Left>(|left| left.n);
        self.numbers::<Right>(|right| right.n);
        self.numbers::<Done>(|done| done.n);
        self.numbers::<Paired>(|paired| paired.left);
    }

    /// Everything has come to its end, once, and every output is there, once.
    pub(crate) fn is_complete(&self) {
        for artifact in &self.artifacts {
            self.has_one_outcome(artifact);
        }
        let orders = self.numbers::<Order>(|order| order.n);
        assert_eq!(orders, self.numbers::<Priced>(|priced| priced.n), "one price for each order");
        assert_eq!(orders, self.numbers::<Shipped>(|shipped| shipped.n), "one shipment for each order");
        let lefts = self.numbers::<Left>(|left| left.n);
        assert_eq!(lefts, self.numbers::<Paired>(|paired| paired.left), "one pair for each left");
        for paired in self.payloads::<Paired>() {
            assert_eq!(paired.left, paired.right, "the right partner");
        }
        let hopeful = self.numbers::<Flaky>(|flaky| flaky.n).into_iter().filter(|n| !is_hopeless(*n));
        assert_eq!(hopeful.collect::<BTreeSet<_>>(), self.numbers::<Done>(|done| done.n), "done once each");
        let hopeless = self.numbers::<Flaky>(|flaky| flaky.n).into_iter().filter(|n| is_hopeless(*n)).count();
        let failures = self.payloads::<Failure>();
        assert_eq!((failures.len(), self.dead), (hopeless, hopeless as u64), "failures and dead letters");
        let bundled: Vec<u64> =
            self.payloads::<Bundle>().into_iter().flat_map(|bundle| bundle.items).collect();
        let once: BTreeSet<u64> = bundled.iter().copied().collect();
        assert_eq!(bundled.len(), once.len(), "no item is in two bundles");
        assert_eq!(once, self.numbers::<Item>(|item| item.n), "every item is in a bundle");
    }

    /// Parcels were closed at the deadline of what was first in them: not before it, and without what came
    /// after it. Returns how long after it the latest was.
    pub(crate) fn parcels_met_their_deadlines(&self) -> Duration {
        let at: BTreeMap<u64, Timestamp> =
            self.of_kind::<Slow>().map(|slow| (read::<Slow>(slow).n, slow.published_at())).collect();
        let mut packed = BTreeSet::new();
        let mut latest = Duration::ZERO;
        for parcel in self.of_kind::<Parcel>() {
            let numbers = read::<Parcel>(parcel).slow;
            let deadline = at[&numbers[0]].after(OPEN_FOR);
            assert!(parcel.published_at() >= deadline, "{numbers:?} was closed before its deadline");
            assert!(numbers.iter().all(|n| at[n] <= deadline), "{numbers:?} was closed after its deadline");
            assert!(numbers.iter().all(|n| packed.insert(*n)), "one of {numbers:?} is in two parcels");
            latest = latest.max(parcel.published_at().since(deadline));
        }
        assert!(packed.iter().eq(at.keys()), "everything is in a parcel: {packed:?}");
        latest
    }

    fn has_one_outcome(&self, artifact: &Arc<Artifact>) {
        let kind = artifact.kind().name();
        let wanted = match kind {
            "Order" => Some("price/0"),
            "Priced" => Some("ship/0"),
            "Left" | "Right" => Some("pair/0"),
            "Item" => Some("bundle/0"),
            "Slow" => Some("collect/0"),
            "Flaky" => Some("flaky/0"),
            "Bad" => Some("panics/0"),
            "Doomed" => Some("idle/0"),
            _ => None,
        };
        let hopeless = kind == "Flaky" && is_hopeless(read::<Flaky>(artifact).n);
        let claims = &self.claims[&artifact.id().to_string()];
        let Some(wanted) = wanted else {
            assert!(claims.is_empty(), "nobody takes a {kind}: {claims:?}");
            return;
        };
        let [(subscription, Some(outcome))] = claims.as_slice() else {
            panic!("{kind} {} has not one outcome: {claims:?}", artifact.id());
        };
        assert_eq!(subscription, wanted);
        let as_expected = match outcome {
            Outcome::Consumed => !hopeless,
            Outcome::Dead => hopeless,
            // Its run is cancelled, unless a life ran it before it was asked to.
            Outcome::Cancelled => kind == "Doomed",
            _ => false,
        };
        assert!(as_expected, "{kind} {} ended as {outcome:?}", artifact.id());
    }

    fn of_kind<T: Payload>(&self) -> impl Iterator<Item = &Arc<Artifact>> {
        let kind = Kind::of::<T>();
        self.artifacts.iter().filter(move |artifact| artifact.kind().name() == kind.name())
    }

    fn payloads<T: Payload + Clone>(&self) -> Vec<T> {
        self.of_kind::<T>().map(|artifact| read(artifact)).collect()
    }

    /// The numbers of all payloads of a kind, which are to differ.
    fn numbers<T: Payload + Clone + Debug>(&self, number: impl Fn(&T) -> u64) -> BTreeSet<u64> {
        let mut numbers = BTreeSet::new();
        for payload in self.payloads::<T>() {
            assert!(numbers.insert(number(&payload)), "{payload:?} was published twice");
        }
        numbers
    }
}

fn read<T: Payload + Clone>(artifact: &Arc<Artifact>) -> T {
    T::clone(&artifact.payload::<T>().expect("it is of that kind"))
}
