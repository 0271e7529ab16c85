//! Conversations by themselves: what is said, when, and when not.

use ecsr_core::state::{Event, Presence, Stop, StopCode};

use super::*;
use crate::testing::World;

/// A conversation about a world, and what it put out so far.
struct Talk {
    conversation: Conversation,
    world: World,
    elapsed: Duration,
}

impl Talk {
    /// A conversation that has been opened, its first words heard.
    fn about(world: World) -> (Self, Vec<Output>) {
        let opening = Opening {
            instance: world.instance.clone(),
            version_info: ecs::VersionInfo::default(),
            roles: Roles::OutOfReach,
            templates: Templates::default(),
            number: 0,
            seed: [1; 32],
        };
        let conversation = Conversation::new(opening);
        let mut talk = Self { conversation, world, elapsed: Duration::ZERO };
        let first = talk.wait(Duration::ZERO).expect("the instance is there");
        (talk, first)
    }

    fn at(&self) -> Moment {
        Moment { now: self.world.now.plus(self.elapsed), elapsed: self.elapsed }
    }

    fn wait(&mut self, time: Duration) -> Result<Vec<Output>, Over> {
        self.elapsed += time;
        self.conversation.timer(&self.world.state, self.at())?;
        Ok(self.outputs())
    }

    fn look(&mut self, news: &News) -> Vec<Output> {
        self.conversation.look(&self.world.state, news, self.at()).expect("the instance is there");
        self.outputs()
    }

    fn hear(&mut self, message: &acs::Message) -> Vec<Output> {
        let heard = self.conversation.hear(&self.world.state, &message.encode(), self.at());
        heard.expect("the frame can be read");
        self.outputs()
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.conversation.next_output()).collect()
    }
}

/// The outputs in a word each; payloads with the number of their tasks.
fn words(outputs: &[Output]) -> Vec<String> {
    let word = |output: &Output| match output {
        Output::Send(acs::Message::PayloadMessage(payload)) => {
            format!("payload of {}", payload.tasks.as_ref().map_or(0, Vec::len))
        }
        Output::Send(message) => message.kind().to_owned(),
        Output::Submit(_) => "submit".into(),
        Output::Announce(_) => "announce".into(),
        Output::Assume(_) => "assume".into(),
    };
    outputs.iter().map(word).collect()
}

fn ack(outputs: &[Output]) -> acs::Message {
    let message_id = outputs.iter().find_map(|output| match output {
        Output::Send(acs::Message::PayloadMessage(payload)) => payload.message_id.clone(),
        _ => None,
    });
    acs::Message::AckRequest(acs::AckRequest { message_id, ..Default::default() })
}

#[test]
fn a_conversation_opens_with_all_that_is_due_and_then_the_manifest() {
    let (mut talk, first) = Talk::about(World::with_tasks(2));
    assert_eq!(words(&first), ["HeartbeatMessage", "announce", "payload of 2", "TaskManifestMessage"]);
    assert_eq!(words(&talk.look(&News::Everything)), [""; 0], "nothing is said twice");
    let stored = talk.hear(&ack(&first));
    let tasks = talk.world.state.tasks.keys().cloned().collect::<Vec<_>>();
    match &stored[..] {
        [Output::Submit(Command::TasksAcknowledged { tasks: told, .. })] => {
            assert_eq!(told.iter().collect::<std::collections::BTreeSet<_>>(), tasks.iter().collect());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(talk.hear(&ack(&first)), [], "an acknowledgement that comes twice counts once");
}

#[test]
fn only_what_is_news_is_looked_at_until_the_next_heartbeat() {
    let (mut talk, _) = Talk::about(World::with_tasks(0));
    let container = serde_json::json!({"taskDefinition": "web"});
    let heard = talk.world.run(container.clone());
    let unheard = talk.world.run(container);
    assert_eq!(words(&talk.look(&News::Tasks([heard.id].into()))), ["payload of 1"]);
    // The news of the other task were lost.
    let beat = talk.wait(HEARTBEAT_INTERVAL).unwrap();
    assert_eq!(words(&beat), ["HeartbeatMessage", "payload of 1"]);
    assert!(format!("{beat:?}").contains(&unheard.id.to_string()));
}

#[test]
fn what_is_over_is_forgotten() {
    let (mut talk, _) = Talk::about(World::with_tasks(1));
    let task = talk.world.tasks[0].clone();
    let stop = Stop { code: StopCode::UserInitiated, reason: String::new() };
    let at = talk.world.now;
    talk.world.state.apply(&Event::TaskStopRequested { task: task.clone(), at, stop });
    let news = News::Tasks([task.id].into());
    assert_eq!(words(&talk.look(&news)), ["payload of 1"]);
    let report = ecsr_core::state::Report::ended(at, None);
    talk.world.state.apply(&Event::TaskReported { task, report });
    assert_eq!(words(&talk.look(&news)), [""; 0]);
    assert!(talk.conversation.outbox.has_said_nothing());
}

#[test]
fn an_announcement_is_repeated_until_the_state_knows() {
    let (mut talk, first) = Talk::about(World::with_tasks(0));
    assert!(words(&first).contains(&"announce".to_owned()));
    let announced = |talk: &mut Talk, outcome| {
        let at = talk.at();
        talk.conversation.announced(&talk.world.state, outcome, at).unwrap();
        words(&talk.outputs())
    };
    assert_eq!(announced(&mut talk, Announced::NotDurable), [""; 0], "not before the next heartbeat");
    assert_eq!(words(&talk.wait(HEARTBEAT_INTERVAL).unwrap()), ["HeartbeatMessage", "announce"]);
    // The farewell of an older conversation was decided after the announcement.
    let silent = Presence::Silent { since: talk.world.now };
    let farewell = talk.world.state.instances[&talk.world.instance].seen(silent);
    talk.world.state.apply(&farewell);
    assert_eq!(announced(&mut talk, Announced::Settled), ["announce"]);
}

#[test]
fn a_silent_agent_is_given_up_and_a_lively_one_is_not() {
    let (mut talk, _) = Talk::about(World::with_tasks(0));
    let beats = SILENCE_MAX.as_secs() / HEARTBEAT_INTERVAL.as_secs();
    for _ in 0..beats {
        talk.wait(HEARTBEAT_INTERVAL).unwrap();
    }
    let acknowledged = acs::HeartbeatAckRequest::default();
    talk.hear(&acs::Message::HeartbeatAckRequest(acknowledged));
    for _ in 0..beats {
        talk.wait(HEARTBEAT_INTERVAL).unwrap();
    }
    assert_eq!(talk.wait(HEARTBEAT_INTERVAL), Err(Over::Silent));
}

#[test]
fn an_agent_that_talks_nonsense_is_answered_for_a_while() {
    let (mut talk, _) = Talk::about(World::with_tasks(0));
    let at = talk.at();
    for _ in 0..UNREADABLE_MAX {
        talk.conversation.hear(&talk.world.state, "?", at).unwrap();
        assert_eq!(words(&talk.outputs()), ["BadRequestException"]);
    }
    assert_eq!(talk.conversation.hear(&talk.world.state, "?", at), Err(Over::Unreadable));
    assert_eq!(talk.outputs(), []);
}

#[test]
fn numbers_grow_from_one_conversation_to_the_next() {
    let (talk, _) = Talk::about(World::with_tasks(3));
    let number = talk.conversation.number();
    assert!(number >= talk.world.now.millis());
    let mut next = Talk::about(World::with_tasks(3)).0;
    next.conversation.number = number + 1_000_000;
    assert_eq!(next.conversation.next_number(next.at()), number + 1_000_001, "even if time stands still");
}

#[test]
fn a_payload_is_bounded_by_number_and_bytes() {
    let small = acs::Task::default();
    let large = acs::Task { arn: Some("a".repeat(PAYLOAD_BYTES_MAX * 2 / 3)), ..acs::Task::default() };
    let huge = acs::Task { arn: Some("a".repeat(PAYLOAD_BYTES_MAX + 1)), ..acs::Task::default() };
    assert_eq!(fitting(&vec![small.clone(); PAYLOAD_TASKS_MAX + 1]), PAYLOAD_TASKS_MAX);
    assert_eq!(fitting(&[small, large.clone(), large]), 2);
    assert_eq!(fitting(&[huge.clone(), huge]), 1);
}

#[test]
fn only_what_is_really_to_stop_is_stopped() {
    let mut world = World::with_tasks(2);
    let stopping = world.tasks[0].clone();
    let stop = Stop { code: StopCode::UserInitiated, reason: String::new() };
    world.state.apply(&Event::TaskStopRequested { task: stopping.clone(), at: world.now, stop });
    let candidate = |arn: String| acs::TaskIdentifier { task_arn: Some(arn), ..Default::default() };
    let check = |arn: String, expected: bool| {
        assert_eq!(is_to_stop(&world.state, &world.instance, &candidate(arn.clone())), expected, "{arn}");
    };
    let arn = |key: &TaskKey| world.state.home.task_arn(&key.cluster, &key.id.to_string());
    check(arn(&stopping), true);
    check(arn(&world.tasks[1]), false);
    check(arn(&TaskKey { id: "f".repeat(32).parse().unwrap(), ..stopping.clone() }), true);
    check(arn(&stopping).replace("us-east-1", "eu-west-1"), false);
    check("nonsense".to_owned(), false);
}
