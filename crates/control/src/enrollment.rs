//! What the status of an Enrollment says once an owner has answered.

use jiff::Timestamp;
use stead_model::{ConditionStatus, Enrollment, EnrollmentPhase, EnrollmentStatus, set_condition};

/// The status that follows from an owner's answer; none where it says so already, or nobody has answered.
pub fn plan(enrollment: &Enrollment, now: Timestamp) -> Option<EnrollmentStatus> {
    let (phase, truth, reason, message) = match enrollment.spec.approved? {
        true => {
            (EnrollmentPhase::Approved, ConditionStatus::True, "Signed", format!("it is the machine {}", enrollment.spec.machine))
        }
        false => (EnrollmentPhase::Denied, ConditionStatus::False, "Denied", "an owner has denied it".to_owned()),
    };
    let present = enrollment.status.clone().unwrap_or_default();
    let mut status = EnrollmentStatus { phase, ..present.clone() };
    set_condition(&mut status.conditions, "Approved", truth, reason, &message, now);
    (status != present).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_follows_the_answer_once() {
        let now = Timestamp::from_second(1).unwrap();
        let mut enrollment = Enrollment::default();
        assert_eq!(plan(&enrollment, now), None);
        for (approved, phase) in [(true, EnrollmentPhase::Approved), (false, EnrollmentPhase::Denied)] {
            enrollment.spec.approved = Some(approved);
            let status = plan(&enrollment, now).unwrap();
            assert_eq!(status.phase, phase);
            enrollment.status = Some(status);
            assert_eq!(plan(&enrollment, now), None);
        }
    }
}
