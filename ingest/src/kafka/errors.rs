//! Errors of librdkafka, by whether trying again can help.
//!
//! It only tells them apart; what is done about one is decided where it arises.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// An error in the place of a message, or one that belongs to the client as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub code: Code,
    /// The partition and the offset that it stands at.
    pub place: Option<(i32, i64)>,
    /// librdkafka's words.
    pub text: String,
}

/// The outcome of a question to the broker, if not an answer.
pub enum Answer {
    Wait(String),
    /// As `Wait`, and nothing that anybody must hear of yet.
    Soon(String),
    Refused(Code),
}

impl From<KafkaError> for Answer {
    fn from(error: KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(code) if severity(code) == Severity::Refused => Self::Refused(code),
            _ => Self::Wait(error.to_string()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// librdkafka tries again by itself.
    Passing,
    /// The same again tomorrow, unless somebody changes something.
    Refused,
    /// Neither is certain.
    Other,
}

pub fn severity(code: Code) -> Severity {
    match code {
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::SSL
        | Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::InvalidTopic
        | Code::UnknownTopicOrPartition
        | Code::UnknownTopic
        | Code::UnknownPartition => Severity::Refused,
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve
        | Code::OperationTimedOut
        | Code::MessageTimedOut
        | Code::TimedOutQueue
        | Code::RequestTimedOut
        | Code::NodeUpdate
        | Code::WaitingForCoordinator
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator
        | Code::PollExceeded
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::ReplicaNotAvailable
        | Code::BrokerNotAvailable
        | Code::NetworkException
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::OffsetNotAvailable
        | Code::KafkaStorageError => Severity::Passing,
        _ => Severity::Other,
    }
}
