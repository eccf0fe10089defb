//! What holds for every order of events, however odd.

use proptest::prelude::*;

use super::state::{Effect, Event, Run, State, Task};
use super::{Cause, Delivery, EndOrder, Ending, Lease};

fn ending() -> impl Strategy<Value = Ending> {
    let cause = prop_oneof![
        Just(Cause::Exit),
        Just(Cause::Signal),
        Just(Cause::Kill),
        Just(Cause::Timeout),
        Just(Cause::SpawnError),
        Just(Cause::SupervisorLost)
    ];
    (cause, proptest::option::of(0..256), 0..3u32, any::<u64>()).prop_map(|(cause, exit_code, descendants, at)| Ending {
        cause,
        exit_code,
        signal: None,
        error: None,
        started_at: 1,
        finished_at: 2,
        duration_ms: 1,
        order: EndOrder { this_boot: true, at },
        is_recorded: true,
        descendants,
        max_rss_bytes: None,
        cpu_ms: None,
    })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1..9u32).prop_map(|pid| Event::Started(Run { pid, supervisor_pid: pid + 1, started_at: 1 })),
        Just(Event::KillAsked),
        ending().prop_map(Event::Ended),
        Just(Event::TreeEmpty),
        ending().prop_map(Event::SupervisorGone),
        (any::<u32>()).prop_map(|number| Event::Leased(Lease {
            number,
            subscription: 1,
            attempt: 1,
            in_callback: false,
            on_its_way: 1
        })),
        any::<bool>().prop_map(|settles| Event::Begun { settles }),
        Just(Event::Accepted),
        Just(Event::Refused),
        Just(Event::Returned),
    ]
}

fn count(effects: &[Effect], which: Effect) -> usize {
    effects.iter().filter(|effect| **effect == which).count()
}

proptest! {
    #[test]
    fn the_first_ending_wins_and_is_announced_once(events in proptest::collection::vec(event(), 0..40)) {
        // R11
        let mut task = Task::new(true);
        let mut all = Vec::new();
        let mut first: Option<Ending> = None;
        for event in events {
            all.extend(task.on(event));
            if let Some(ending) = task.ending() {
                let first = first.get_or_insert_with(|| ending.clone());
                prop_assert_eq!(&*first, ending);
            } else {
                prop_assert!(first.is_none());
            }
        }
        prop_assert_eq!(count(&all, Effect::AnnounceEnd), usize::from(first.is_some()));
        prop_assert!(count(&all, Effect::AnnounceStart) <= 2);
    }

    #[test]
    fn a_completion_is_leased_by_one_and_never_after_its_acknowledgement(events in proptest::collection::vec(event(), 0..60)) {
        // D5
        let mut task = Task::new(true);
        let mut is_delivered = false;
        for event in events {
            let before = task.delivery;
            let is_lease = matches!(event, Event::Leased(_));
            task.on(event);
            if is_lease && task.lease().is_some() {
                prop_assert!(matches!(before, Delivery::Pending | Delivery::Leased(_)));
            }
            prop_assert!(!is_delivered || task.delivery == Delivery::Delivered);
            is_delivered = task.delivery == Delivery::Delivered;
        }
    }

    #[test]
    fn a_task_without_an_end_has_no_news(events in proptest::collection::vec(event(), 0..40)) {
        let mut task = Task::new(true);
        for event in events {
            task.on(event);
            prop_assert!(task.ending().is_some() || task.delivery == Delivery::Silent);
        }
    }

    #[test]
    fn whoever_waits_for_the_tree_is_told_when_it_is_gone(events in proptest::collection::vec(event(), 0..40)) {
        // P10
        let mut task = Task::new(true);
        for event in events {
            let was_gone = task.is_gone();
            let is_kill = event == Event::KillAsked;
            let effects = task.on(event);
            let told = count(&effects, Effect::AnnounceEmpty) > 0;
            prop_assert_eq!(told, task.is_gone() && (!was_gone || is_kill));
            if is_kill && !matches!(task.state, State::Ended(..)) {
                prop_assert_eq!(effects, vec![]);
            }
        }
    }
}
