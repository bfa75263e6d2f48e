use proptest::prelude::*;

use super::*;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn propagation() -> impl Strategy<Value = Propagation> {
    let root = proptest::option::of(1_u64..);
    let foreign = proptest::option::of(Just(Arc::<str>::from("congo=t61rcWkgMzE,rojo=00f067")));
    (1_u128.., 1_u64.., any::<bool>(), root, foreign)
        .prop_map(|(trace, span, sampled, root, foreign)| Propagation { trace, span, sampled, root, foreign })
}

proptest! {
    #[test]
    fn what_an_artifact_carries_comes_back_from_its_text(propagation in propagation()) {
        let state = propagation.tracestate();
        let again = Propagation::parse(&propagation.traceparent(), Some(&state));
        prop_assert_eq!(again.as_ref(), Ok(&propagation));
        let again = Propagation::from_ids(propagation.trace_id(), propagation.span_id(), propagation.flags(), Some(&state));
        prop_assert_eq!(again, Some(propagation));
    }

    #[test]
    fn no_text_makes_parsing_panic_and_what_is_taken_is_well_formed(parent in ".{0,80}", state in ".{0,80}") {
        if let Ok(propagation) = Propagation::parse(&parent, Some(&state)) {
            prop_assert!(Propagation::parse(&propagation.traceparent(), Some(&propagation.tracestate())).is_ok());
        }
    }
}

#[test]
fn malformed_traceparents_are_refused() {
    for header in [
        "",
        "00-0-0-0",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
    ] {
        assert!(Propagation::parse(header, None).is_err(), "{header}");
    }
    let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
    assert!(Propagation::parse(later, None).is_ok(), "a later version may have more fields");
}

#[test]
fn members_of_others_are_passed_on_and_malformed_states_are_passed_over() {
    let state =
        |text: &str| Propagation::parse(PARENT, Some(text)).map(|propagation| propagation.tracestate());
    assert_eq!(state(" rojo=1 , congo=2"), Ok("rojo=1,congo=2".to_owned()));
    for broken in ["rojo", "=1", "rojo=", "Rojo=1", "rojo=1,rojo=2", "rojo=é"] {
        assert_eq!(state(broken), Ok(String::new()), "{broken}");
    }
    let ours = "volery=00000000000000ff";
    assert_eq!(state(&format!("rojo=1,{ours}")), Ok(format!("{ours},rojo=1")), "ours comes first");
    for broken in
        ["volery=ff", "volery=0000000000000000", "volery=00000000000000ff-a", "volery=00000000000000fF"]
    {
        assert_eq!(state(broken), Ok(String::new()), "{broken}");
    }
}

#[test]
fn a_full_state_of_others_makes_room_for_ours() {
    let many: Vec<String> = (0..32).map(|number| format!("k{number}=v")).collect();
    let mut propagation = Propagation::parse(PARENT, Some(&many.join(","))).expect("32 members are allowed");
    propagation.root = Some(1);
    let state = propagation.tracestate();
    assert_eq!(state.split(',').count(), 32);
    assert_eq!(Propagation::parse(PARENT, Some(&state)).map(|again| again.root), Ok(propagation.root));
}
