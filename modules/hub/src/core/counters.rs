//! What happened, counted: everything refused or dropped under a name that an operator would guess.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Something that is counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Counter {
            $($(#[$doc])* $variant,)*
        }

        impl Counter {
            /// All of them, in the order they are listed.
            pub const ALL: &'static [Counter] = &[$(Counter::$variant,)*];

            /// The name, as an operator sees it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Counter::$variant => $name,)*
                }
            }
        }
    };
}

counters! {
    /// Messages taken from senders, routed or not.
    MessagesReceived = "messages_received_total",
    /// Messages handed to modules, repeats included.
    MessagesSent = "messages_sent_total",
    /// Messages that modules accepted.
    MessagesAccepted = "messages_accepted_total",
    /// Messages written to the upstream log.
    MessagesUpstream = "messages_upstream_total",
    /// Messages handed out again: the first time was not acknowledged.
    MessagesRedelivered = "messages_redelivered_total",
    /// Acknowledged and dropped: no route wanted them.
    DroppedNoRoute = "messages_dropped_no_route_total",
    /// Dropped: their time to live was over.
    DroppedTtlExpiry = "messages_dropped_ttl_expiry_total",
    /// Dropped: their module rejected them.
    DroppedRejected = "messages_dropped_rejected_total",
    /// Dropped: their record in the journal could not be read.
    DroppedUnreadable = "messages_dropped_unreadable_total",
    /// Dropped, as the hub was told to: the queues were at their limit.
    DroppedFull = "messages_dropped_queues_full_total",
    /// Upstream messages given up because the log was at its limit.
    DroppedRetention = "messages_dropped_retention_total",
    /// Refused: larger than 256 KiB.
    RefusedTooLarge = "messages_refused_too_large_total",
    /// Refused: a session published as another identity.
    RefusedForeign = "messages_refused_foreign_identity_total",
    /// Refused: an identifier or property that may not be.
    RefusedMalformed = "messages_refused_malformed_total",
    /// Not acknowledged: the store is full.
    RefusedStoreFull = "messages_refused_store_full_total",
    /// Connections that became sessions.
    SessionsAttached = "sessions_attached_total",
    /// Sessions that ended.
    SessionsDetached = "sessions_detached_total",
    /// Sessions ended by a second connection of the same identity.
    SessionsTakenOver = "sessions_taken_over_total",
    /// Sessions ended because their token expired.
    SessionsExpired = "sessions_expired_total",
    /// Sessions ended because their identity was disabled or deleted.
    SessionsRemoved = "sessions_removed_total",
    /// Sessions ended because they did not read their twin changes and calls.
    SessionsTooSlow = "sessions_too_slow_total",
    /// Sessions ended by a fault that somebody asked for.
    SessionsCut = "sessions_cut_on_request_total",
    /// Sessions refused: as many as there may be.
    SessionsRefused = "sessions_refused_too_many_total",
    /// Connections refused: no credential.
    ConnectionsNoCredential = "connections_refused_no_credential_total",
    /// Connections refused: a token that does not read as one.
    ConnectionsMalformedToken = "connections_refused_malformed_token_total",
    /// Connections refused: an expired token.
    ConnectionsExpiredToken = "connections_refused_expired_token_total",
    /// Connections refused: a token for somebody or somewhere else.
    ConnectionsAudience = "connections_refused_foreign_token_total",
    /// Connections refused: a signature that fits no key.
    ConnectionsSignature = "connections_refused_wrong_key_total",
    /// Connections refused: nobody of that name.
    ConnectionsUnknown = "connections_refused_unknown_identity_total",
    /// Connections refused: disabled.
    ConnectionsDisabled = "connections_refused_disabled_identity_total",
    /// Connections refused: the wrong certificate.
    ConnectionsCertificate = "connections_refused_certificate_total",
    /// Connections refused: an unknown policy, or one without the right.
    ConnectionsPolicy = "connections_refused_policy_total",
    /// Requests of the service side refused.
    RequestsUnauthorized = "requests_refused_unauthorized_total",
    /// Twins read by their clients.
    TwinsRead = "twins_read_total",
    /// Reported patches taken.
    TwinsReported = "twins_reported_total",
    /// Reported patches refused.
    TwinsReportedRefused = "twins_reported_refused_total",
    /// Changes of desired properties or tags taken.
    TwinsDesired = "twins_desired_total",
    /// Changes of desired properties or tags refused.
    TwinsDesiredRefused = "twins_desired_refused_total",
    /// Configurations of `$edgeHub` that did not parse; the old one stayed.
    ConfigurationsRefused = "configurations_refused_total",
    /// Direct methods called.
    MethodsCalled = "methods_called_total",
    /// Direct methods answered by their target.
    MethodsAnswered = "methods_answered_total",
    /// Direct methods whose target was not there.
    MethodsNotOnline = "methods_failed_not_online_total",
    /// Direct methods whose target did not answer in time.
    MethodsTimedOut = "methods_failed_timeout_total",
    /// Answers that nobody waits for any more, or that were not asked for.
    MethodAnswersLate = "method_answers_late_total",
    /// Cloud-to-device messages taken from the service.
    DeviceboundReceived = "cloud_to_device_received_total",
    /// Cloud-to-device messages that devices completed.
    DeviceboundCompleted = "cloud_to_device_completed_total",
    /// Cloud-to-device messages that devices rejected.
    DeviceboundRejected = "cloud_to_device_rejected_total",
    /// Cloud-to-device messages whose time was over.
    DeviceboundExpired = "cloud_to_device_expired_total",
    /// Cloud-to-device messages tried too often.
    DeviceboundGivenUp = "cloud_to_device_delivery_count_exceeded_total",
    /// Cloud-to-device messages refused: the queue is full.
    DeviceboundQueueFull = "cloud_to_device_refused_queue_full_total",
    /// Feedback records given up because nobody fetched them.
    FeedbackDropped = "feedback_dropped_total",
}

/// The counters' present values; clones count together.
#[derive(Debug, Clone)]
pub struct Counters(Arc<[AtomicU64]>);

impl Default for Counters {
    fn default() -> Self {
        Self(Counter::ALL.iter().map(|_| AtomicU64::new(0)).collect())
    }
}

impl Counters {
    /// One more.
    pub fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// `n` more.
    pub fn add(&self, counter: Counter, n: u64) {
        self.0[counter as usize].fetch_add(n, Ordering::Relaxed);
    }

    /// How often so far.
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize].load(Ordering::Relaxed)
    }

    /// All of them with their names, in a fixed order.
    pub fn list(&self) -> Vec<(&'static str, u64)> {
        Counter::ALL.iter().map(|&counter| (counter.name(), self.get(counter))).collect()
    }
}
