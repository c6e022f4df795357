//! `token`: join tokens. A new one is printed alone on standard output, or written to a file that only its owner reads.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use identity::SpiffeId;
use proto::v1;
use proto::v1::tokens_client::TokensClient;
use serde_json::json;
use tonic::transport::Channel;
use zeroize::Zeroizing;

use crate::cli::Global;
use crate::failure::Failure;
use crate::instance::Instance;
use crate::message;
use crate::output::{self, Format, Table};

/// Join tokens: each enrols one identity once
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a token for one identity and print it
    #[command(after_help = "Example:\n  \
        signet token create --spiffe-id spiffe://example.org/ns/default/sa/web --dns web.example.org --out web.token\n\n\
        Where no registration grants the identity to tokens, one is made that ends with the token or its certificates.")]
    Create(Box<Creation>),
    /// List tokens
    #[command(after_help = "Example:\n  signet token list -o json")]
    List,
    /// Revoke a token; what was issued for it stays
    #[command(after_help = "Example:\n  signet token revoke 3f9a1c")]
    Revoke {
        /// Id of the token, as `signet token list` shows it
        id: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Creation {
    /// Identity that the token is for
    #[arg(long, value_name = "ID")]
    spiffe_id: SpiffeId,
    /// DNS name that its certificates may have, repeatable
    #[arg(long = "dns", value_name = "NAME")]
    dns_names: Vec<String>,
    /// How long the token can be redeemed [default: the server's, 10m]
    #[arg(long, value_name = "DURATION", value_parser = identity::duration::parse)]
    ttl: Option<Duration>,
    /// Longest lifetime of its certificates, renewals included, and the default one [default: the
    /// registration's, or the profile's]
    #[arg(long, value_name = "DURATION", value_parser = identity::duration::parse)]
    life: Option<Duration>,
    /// Role, needed for the reserved paths /agent/, /admin/ and /device/
    #[arg(long, value_enum)]
    role: Option<Role>,
    /// Address written into the token [default: first server name and gRPC port]
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<String>,
    /// Write the token to this file (0600, no newline) instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    Agent,
    Admin,
    Device,
}

pub(crate) async fn run(verb: Verb, global: &Global) -> Result<(), Failure> {
    let mut client = TokensClient::new(Instance::locate(global)?.connect().await?);
    match verb {
        Verb::Create(creation) => create(*creation, &mut client, global.output).await,
        Verb::List => list(&mut client, global.output).await,
        Verb::Revoke { id } => {
            client
                .revoke_token(v1::RevokeTokenRequest { id: id.clone() })
                .await?;
            output::show(global.output, &json!({ "id": id }), || {
                format!("token {id} revoked")
            })
        }
    }
}

async fn create(
    creation: Creation,
    client: &mut TokensClient<Channel>,
    format: Format,
) -> Result<(), Failure> {
    let role = creation.role.map(|role| match role {
        Role::Agent => "agent",
        Role::Admin => "admin",
        Role::Device => "device",
    });
    let request = v1::CreateTokenRequest {
        spiffe_id: creation.spiffe_id.as_str().to_owned(),
        dns_names: creation.dns_names,
        ttl: creation.ttl.map(proto::duration_to_message),
        life: creation.life.map(proto::duration_to_message),
        role: role.unwrap_or_default().to_owned(),
        server: creation.server.unwrap_or_default(),
    };
    let v1::CreateTokenResponse { token, secret } = client.create_token(request).await?.into_inner();
    let secret = Zeroizing::new(secret);
    let token = token.ok_or_else(|| Failure::internal("answer of the server: field token is missing"))?;
    let mut facts = json!({
        "id": token.id,
        "spiffeId": token.spiffe_id,
        "expiresAt": message::moment(token.expires_at.as_ref()),
    });
    if let Some(path) = creation.out {
        runtime::atomic::write(&path, secret.as_bytes(), 0o600).map_err(Failure::internal)?;
        facts["file"] = path.display().to_string().into();
        return output::show(format, &facts, || {
            format!("token {} written to {}", token.id, path.display())
        });
    }
    facts["token"] = secret.as_str().into();
    output::show(format, &facts, || secret.to_string())
}

async fn list(client: &mut TokensClient<Channel>, format: Format) -> Result<(), Failure> {
    let tokens = all(client).await?;
    let items = tokens.iter().map(|token| message::json("Token", token));
    output::show(format, &output::items(items), || {
        table(&tokens, format == Format::Wide)
    })
}

/// All tokens, on any number of pages.
pub(crate) async fn all(client: &mut TokensClient<Channel>) -> Result<Vec<v1::Token>, Failure> {
    let mut tokens = Vec::new();
    let mut request = v1::ListTokensRequest::default();
    loop {
        let page = client.list_tokens(request.clone()).await?.into_inner();
        tokens.extend(page.tokens);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(tokens);
        }
    }
}

fn table(tokens: &[v1::Token], wide: bool) -> String {
    let more = ["REDEEMED BY"].into_iter().filter(|_| wide);
    let mut table = Table::new(
        ["ID", "SPIFFE ID", "STATE", "EXPIRES", "REGISTRATION"]
            .into_iter()
            .chain(more),
    );
    for token in tokens {
        let cells = [
            token.id.clone(),
            token.spiffe_id.clone(),
            token.state().as_str_name().to_lowercase(),
            message::moment(token.expires_at.as_ref()),
            token.registration.clone(),
        ];
        let more = [token.redeemed_serial.clone()].into_iter().filter(|_| wide);
        table.row(cells.into_iter().chain(more));
    }
    table.text()
}
