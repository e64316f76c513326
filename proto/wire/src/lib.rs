//! The generated code of `resetd.v1` and every conversion between it and the model, once, in both directions.
//!
//! Nothing else in the workspace names a generated message except the services and clients that pass it on at once.

mod admin;
mod event;
mod fault;
mod gateway;
mod hint;
mod operation;
mod plan;
mod request;
mod target;
mod window;

pub use admin::{
    decode_audit_record, decode_expected, decode_new_token, decode_revoke_token, decode_token,
    decode_verdict, encode_audit_record, encode_expected, encode_new_token, encode_token, encode_verdict,
};
pub use event::{Received, decode_event, encode_event};
pub use fault::{decode_status, encode_fault};
pub use gateway::{decode_exit, encode_exit, encode_tool};
pub use operation::{
    decode_holder, decode_operation, decode_timestamp, encode_holder, encode_operation, timestamp,
};
pub use request::{DecodeError, Request, decode_request, encode_request, parse_operation_id};
pub use target::{decode_target, encode_target};
pub use window::{decode_reservation, decode_window, encode_window, parse_request_id, parse_window_id};

/// The generated messages, clients and servers.
pub mod v1 {
    #![expect(
        unused_qualifications,
        clippy::all,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        reason = "generated; the comments are in the contract"
    )]
    tonic::include_proto!("resetd.v1");

    /// The descriptor set of the contract, with comments, for reflection and tests.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor_set.bin"));
}
