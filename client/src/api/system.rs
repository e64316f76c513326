//! The daemon itself.

use model::fault::Fault;
use wire::v1;

use super::{
    call::{Api, message},
    view::Daemon,
};

impl Api {
    /// Who answers.
    pub(crate) async fn server_info(&self) -> Result<Daemon, Fault> {
        let reply = self.connection.system().await?.get_server_info(v1::GetServerInfoRequest {}).await;
        Ok(message(reply)?.into())
    }
}
