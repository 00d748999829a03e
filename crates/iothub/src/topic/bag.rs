//! The property bag at the end of a topic: `%24.mid=1&%24.ct=text%2Fplain&name=value`.

use crate::cut::cut;
use crate::message::PROPERTIES_MAX;
use crate::message::{PropertiesBuilder, SystemBuilder};
use crate::percent;
use crate::{Properties, Refused, System, SystemProperty, time};

/// Reads a bag. `known` are the system properties that this direction has; others are application properties.
///
/// One `?` in front goes, and all from the first slash on: Node ends outputs with one, and IoT Edge stops there.
/// Of two equal names the first counts. A name without `=` is null. A `+` is a plus sign. A malformed `%` is refused.
pub(super) fn parse(bag: &str, known: &[SystemProperty]) -> Result<(System, Properties), Refused> {
    let bag = bag.strip_prefix('?').unwrap_or(bag);
    let mut rest = cut(bag, b'/').map_or(bag, |(bag, _)| bag);
    // Packed, a pair takes about what it takes here: %24. becomes a byte or two of lengths.
    let (mut system, mut properties) =
        (SystemBuilder::with_bytes(bag.len()), PropertiesBuilder::with_bytes(bag.len()));
    let (mut name_space, mut value_space) = (Vec::new(), Vec::new());
    while !rest.is_empty() {
        let part;
        (part, rest) = cut(rest, b'&').unwrap_or((rest, ""));
        if part.is_empty() {
            continue;
        }
        let (name, value) = cut(part, b'=').map_or((part, None), |(name, value)| (name, Some(value)));
        let name = percent::decode(name, &mut name_space).map_err(in_bag)?;
        let value =
            value.map(|value| percent::decode(value, &mut value_space)).transpose().map_err(in_bag)?;
        match SystemProperty::from_wire_name(name).filter(|property| known.contains(property)) {
            Some(property) => value.into_iter().for_each(|value| system.add(property, value)),
            None if name.is_empty() => {
                return Err(Refused::new("property bag", "has a value without a name; write name=value"));
            }
            None => properties.add(name, value),
        }
        if properties.len() > PROPERTIES_MAX {
            let why =
                format!("has more than {PROPERTIES_MAX} application properties; that many fit a message");
            return Err(Refused::new("property bag", why));
        }
    }
    Ok((system.build(), properties.build()))
}

fn in_bag(refused: Refused) -> Refused {
    Refused::new(format!("property bag: {}", refused.what()), refused.why().to_owned())
}

/// How a null value is written: clients write the bare name, the hub `name=`, which every SDK reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Null {
    Bare,
    Empty,
}

/// Writes bags, pair by pair, behind what is in `topic` already.
pub(super) struct Writer<'t> {
    topic: &'t mut String,
    begun: bool,
}

impl<'t> Writer<'t> {
    pub(super) fn new(topic: &'t mut String) -> Self {
        Self { topic, begun: false }
    }

    /// The system properties of `known`, in that order.
    pub(super) fn system(&mut self, system: &System, known: &[SystemProperty]) {
        if system.is_empty() {
            return;
        }
        for (property, value) in system.select(known) {
            let Some(name) = property.wire_name() else { continue };
            self.name(name);
            self.topic.push('=');
            match property {
                SystemProperty::Expiry | SystemProperty::CreationTime => self.time(value),
                _ => percent::encode_into(self.topic, value),
            }
        }
    }

    /// All application properties, but none that would pass for one of the `known` system properties that are set:
    /// a sender's own `$.cdid` must not stand beside the real one.
    pub(super) fn properties(
        &mut self,
        properties: &Properties,
        system: &System,
        known: &[SystemProperty],
        null: Null,
    ) {
        for (name, value) in properties.iter() {
            let forged = SystemProperty::from_wire_name(name)
                .is_some_and(|property| known.contains(&property) && system.get(property).is_some());
            if forged {
                continue;
            }
            self.name(name);
            if value.is_some() || null == Null::Empty {
                self.topic.push('=');
            }
            percent::encode_into(self.topic, value.unwrap_or_default());
        }
    }

    fn name(&mut self, name: &str) {
        if self.begun {
            self.topic.push('&');
        }
        self.begun = true;
        percent::encode_into(self.topic, name);
    }

    /// .NET clients read times with seven fraction digits only, whatever the sender wrote.
    fn time(&mut self, value: &str) {
        match value.parse() {
            Ok(at) => percent::encode_into(self.topic, &time::dotnet(at)),
            Err(_) => percent::encode_into(self.topic, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_map;
    use proptest::option;
    use proptest::prelude::*;

    use super::SystemProperty::*;
    use super::*;

    const KNOWN: &[SystemProperty] = &[MessageId, ContentType, OutputName, Ack];

    fn read(bag: &str) -> (System, Vec<(String, Option<String>)>) {
        let (system, properties) = parse(bag, KNOWN).unwrap();
        let owned = |(name, value): (&str, Option<&str>)| (name.to_owned(), value.map(str::to_owned));
        (system, properties.iter().map(owned).collect())
    }

    fn names(bag: &str) -> Vec<(String, Option<String>)> {
        read(bag).1
    }

    fn pair(name: &str, value: impl Into<Option<&'static str>>) -> (String, Option<String>) {
        (name.to_owned(), value.into().map(str::to_owned))
    }

    #[test]
    fn an_empty_bag_has_nothing_however_it_is_written() {
        for bag in ["", "/", "?", "?/", "&", "&&/"] {
            assert_eq!(read(bag), (System::default(), vec![]), "{bag:?}");
        }
    }

    #[test]
    fn a_name_alone_is_null_and_a_name_with_an_equals_sign_is_empty() {
        assert_eq!(names("null&empty="), [pair("null", None), pair("empty", "")]);
    }

    #[test]
    fn a_slash_at_the_end_and_what_follows_a_slash_are_not_part_of_it() {
        assert_eq!(names("a=1&empty=/"), [pair("a", "1"), pair("empty", "")]);
        assert_eq!(names("?a=1/b=2"), [pair("a", "1")]);
        assert_eq!(names("a=%2F/"), [pair("a", "/")]);
    }

    #[test]
    fn a_plus_is_no_space_and_only_the_first_equals_sign_splits() {
        assert_eq!(names("a+b=c+d=e"), [pair("a+b", "c+d=e")]);
    }

    #[test]
    fn system_names_are_known_encoded_and_raw() {
        let (system, properties) = read("%24.mid=1&$.ct=text%2Fplain&%24%2Eon=out&iothub-ack=full");
        assert_eq!(system.get(MessageId), Some("1"));
        assert_eq!(system.get(ContentType), Some("text/plain"));
        assert_eq!(system.get(OutputName), Some("out"));
        assert_eq!(system.get(Ack), Some("full"));
        assert_eq!(properties, []);
    }

    #[test]
    fn names_that_this_direction_does_not_have_stay_application_properties() {
        assert_eq!(names("%24.cdid=x&%24.new=y&ack=z").len(), 3);
    }

    #[test]
    fn of_two_equal_names_the_first_counts() {
        let (system, properties) = read("a=1&%24.mid=1&a=2&$.mid=2&A=3");
        assert_eq!(system.get(MessageId), Some("1"));
        assert_eq!(properties, [pair("a", "1"), pair("A", "3")]);
    }

    #[test]
    fn a_malformed_bag_is_refused_with_the_place() {
        let why = parse("a=1&b=100%", KNOWN).unwrap_err().to_string();
        assert!(why.contains("100%") && why.contains("%25"), "{why}");
        assert!(parse("%zz=1", KNOWN).is_err());
        assert!(parse("=1", KNOWN).is_err());
        assert!(parse("a=%ff", KNOWN).is_err());
    }

    #[test]
    fn the_last_property_that_fits_is_taken_and_the_next_is_refused() {
        let bag = |count: usize| (0..count).map(|at| format!("p{at}=v")).collect::<Vec<_>>().join("&");
        assert_eq!(names(&bag(PROPERTIES_MAX)).len(), PROPERTIES_MAX);
        assert!(parse(&bag(PROPERTIES_MAX + 1), KNOWN).is_err());
    }

    proptest! {
        #[test]
        fn any_properties_survive_the_round_trip(
            pairs in btree_map(".{1,20}", option::of(".{0,20}"), 0..8),
            id in option::of(".{0,20}"),
        ) {
            let (mut system, mut properties) = (System::default(), Properties::default());
            pairs.iter().for_each(|(name, value)| properties.put(name, value.as_deref()));
            id.iter().for_each(|id| system.set(MessageId, id));
            prop_assume!(properties.iter().all(|(name, _)| SystemProperty::from_wire_name(name).is_none()));
            let mut bag = String::new();
            let mut writer = Writer::new(&mut bag);
            writer.system(&system, KNOWN);
            writer.properties(&properties, &system, KNOWN, Null::Bare);
            prop_assert!(!bag.contains(['+', '#', '/', '$', ' ']));
            prop_assert_eq!(parse(&bag, KNOWN).unwrap(), (system.clone(), properties.clone()));
            prop_assert_eq!(parse(&format!("{bag}/"), KNOWN).unwrap(), (system, properties));
        }

        #[test]
        fn no_text_makes_reading_panic(bag in ".*") {
            let _ = parse(&bag, KNOWN);
        }
    }
}
