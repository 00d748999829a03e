//! Seeds, played: nothing is lost, nothing comes in another order, and the same seed plays the same game.

use isotherm_sim::{Fault, Outcome, Plan, play};

fn assert_all_is_well(outcome: &Outcome, minutes: u64) {
    let Outcome { seed, faults, problems, .. } = outcome;
    let again = format!("isotherm simulate --seed {seed} --minutes {minutes} --trace");
    assert!(problems.is_empty(), "seed {seed} {faults:?}: {problems:#?}\nplay it again: {again}");
    assert!(outcome.sensed > 20, "seed {seed}: {outcome:?}");
}

#[test]
fn no_reading_is_lost_whatever_twenty_seeds_bring_about() {
    let plan = Plan { minutes: 3, ..Plan::default() };
    for seed in 0..20 {
        assert_all_is_well(&play(seed, &plan), plan.minutes);
    }
}

#[test]
fn no_fault_by_itself_costs_a_reading() {
    for (seed, fault) in Fault::ALL.into_iter().enumerate() {
        let plan = Plan { minutes: 2, faults: Some(vec![fault]), trace: false };
        assert_all_is_well(&play(seed as u64, &plan), plan.minutes);
    }
}

#[test]
fn seeds_that_once_found_a_bug_find_it_no_more() {
    for seed in isotherm_sim::found() {
        let plan = Plan::default();
        assert_all_is_well(&play(seed, &plan), plan.minutes);
    }
}

#[test]
fn the_same_seed_plays_the_same_game_and_another_seed_another() {
    let plan = Plan { minutes: 3, ..Plan::default() };
    let first = play(7, &plan);
    assert_eq!(first, play(7, &plan));
    assert_ne!(first.trace, play(8, &plan).trace);
}

#[test]
fn an_hour_without_faults_has_no_repeats() {
    let plan = Plan { minutes: 60, faults: Some(Vec::new()), trace: false };
    let outcome = play(1, &plan);
    assert_all_is_well(&outcome, plan.minutes);
    assert_eq!(outcome.repeats, 0);
    assert!(outcome.delivered > 100, "{outcome:?}");
}
