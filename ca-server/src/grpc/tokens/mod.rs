//! Join tokens: made, listed and revoked by administrators. A token stands for one identity, which a registration grants; where none
//! does, one is made for the token alone. Of the secret only the digest of the whole text is kept.

mod wish;

use identity::{JoinToken, Reason, hex};
use proto::v1::token::State;
use proto::{Refusal, v1};
use resources::{Facts, Proof, Registration, TokenGrant};
use ring::rand::{SecureRandom, SystemRandom};
use time::OffsetDateTime;
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use super::admin::{Admin, invalid, page_size};
use crate::store::{Command, ResourceRow, TokenRow};
use wish::{Wish, too_long};

const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// `signet.v1.Tokens`.
#[derive(Clone)]
pub struct TokensService {
    admin: Admin,
}

impl TokensService {
    /// For the administrators of this server.
    pub fn new(admin: Admin) -> Self {
        Self { admin }
    }

    async fn create(
        &self,
        by: &str,
        request: v1::CreateTokenRequest,
    ) -> Result<v1::CreateTokenResponse, Refusal> {
        let wish = Wish::read(&self.admin, request)?;
        let now = self.admin.clock.now();
        let id = hex::encode(&random::<ID_BYTES>()?[..]);
        let fingerprint = (self.admin.fingerprint)().ok_or_else(|| {
            Refusal::new(
                Reason::NotReady,
                "the server has no authority yet; activate one first",
            )
        })?;
        let secret = Zeroizing::new(hex::encode(&random::<SECRET_BYTES>()?[..]));
        let trust_domain = self.admin.trust_domain.clone();
        let token = JoinToken::new(&id, secret, &wish.server, fingerprint, trust_domain)
            .map_err(|e| invalid("server", e))?;
        let text = token.text();

        let (name, made) = match self.registration_for(&wish)? {
            Some(name) => (name, None),
            None => {
                let row = registration(&id, &wish)?;
                (format!("{}/{}", row.namespace, row.name), Some(row))
            }
        };
        let row = TokenRow {
            id,
            digest: JoinToken::digest_of(&text).to_vec(),
            spiffe_id: wish.spiffe_id.to_string(),
            created_at: now.unix_timestamp(),
            expires_at: (now + wish.ttl).unix_timestamp(),
            registration: name,
            made_registration: made.is_some(),
            dns_names: wish.dns_names,
            life: wish.life.map_or(0, |life| life.as_secs()),
            ..TokenRow::default()
        };
        let (token, registration) = (row.clone(), made);
        let command = Command::CreateToken {
            token,
            registration,
            by: by.to_owned(),
        };
        self.admin.submit(command).await?;
        self.admin
            .changed(by, format!("created join token {}", row.id), |line| {
                line.identity = Some(row.spiffe_id.clone());
                line.registration = Some(row.registration.clone());
            });
        Ok(v1::CreateTokenResponse {
            token: Some(to_message(&row, now)),
            secret: text.to_string(),
        })
    }

    /// The first registration by name that grants the identity to tokens; what was wished for besides must be within it.
    fn registration_for(&self, wish: &Wish) -> Result<Option<String>, Refusal> {
        let set = self.admin.registrations.current();
        let grants = |registration: &Registration| {
            registration.grants_caller(&Proof::Token).is_some()
                && registration
                    .spiffe_id_for(&self.admin.trust_domain, &Facts::default())
                    .is_ok_and(|id| id == wish.spiffe_id)
        };
        let mut all = set
            .fixed(&wish.spiffe_id)
            .iter()
            .map(|registered| &registered.registration);
        let Some(registration) = all.find(|registration| grants(registration)) else {
            return Ok(None);
        };
        let name = format!("{}/{}", registration.namespace(), registration.name());
        within(wish, registration, &name)?;
        Ok(Some(name))
    }

    async fn revoke(
        &self,
        by: &str,
        request: v1::RevokeTokenRequest,
    ) -> Result<v1::RevokeTokenResponse, Refusal> {
        let v1::RevokeTokenRequest { id } = request;
        let command = Command::RevokeToken {
            id: id.clone(),
            by: by.to_owned(),
        };
        self.admin.submit(command).await?;
        self.admin.changed(by, format!("revoked join token {id}"), |_| ());
        Ok(v1::RevokeTokenResponse {})
    }

    fn list(&self, request: v1::ListTokensRequest) -> Result<v1::ListTokensResponse, Refusal> {
        let v1::ListTokensRequest {
            page_size: asked,
            page_token,
        } = request;
        let (size, now) = (page_size(asked)?, self.admin.clock.now());
        let state = self.admin.store.read();
        let mut rows = state.tokens_after(&page_token);
        let tokens: Vec<v1::Token> = rows.by_ref().take(size).map(|row| to_message(row, now)).collect();
        let next_page_token = match (rows.next(), tokens.last()) {
            (Some(_), Some(last)) => last.id.clone(),
            _ => String::new(),
        };
        Ok(v1::ListTokensResponse {
            tokens,
            next_page_token,
        })
    }
}

/// What the registration that grants the identity must allow of the wish: names and life.
fn within(wish: &Wish, registration: &Registration, name: &str) -> Result<(), Refusal> {
    let granted = registration.dns_names();
    if let Some(other) = wish.dns_names.iter().find(|wished| !granted.contains(wished)) {
        let names = if granted.is_empty() {
            "none".to_owned()
        } else {
            granted.join(", ")
        };
        let why =
            format!("{other} is not granted by registration {name}, which grants {names}; add it there");
        return Err(Refusal::new(Reason::NameNotGranted, why)
            .with("name", other)
            .with("field", "dns_names"));
    }
    match (wish.life, registration.max_life()) {
        (Some(life), Some(longest)) if life > longest => Err(too_long("life", life, longest)),
        _ => Ok(()),
    }
}

/// The registration that is made for one token.
fn registration(id: &str, wish: &Wish) -> Result<ResourceRow, Refusal> {
    let grant = TokenGrant {
        token_id: id,
        role: wish.spiffe_id.role(),
        spiffe_id: &wish.spiffe_id,
        dns_names: &wish.dns_names,
        life: wish.life,
    };
    let document = Registration::for_token(&grant).map_err(|e| {
        Refusal::new(
            Reason::ResourceInvalid,
            format!("no registration can be made for the token: {e}"),
        )
        .with("field", e.field)
    })?;
    Ok(ResourceRow {
        kind: document.kind.word().to_owned(),
        namespace: document.namespace,
        name: document.name,
        document_json: document.json.into_bytes(),
        ..ResourceRow::default()
    })
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, Refusal> {
    let mut bytes = Zeroizing::new([0; N]);
    SystemRandom::new()
        .fill(&mut bytes[..])
        .map_err(|_| Refusal::new(Reason::Internal, "the system gives no random numbers"))?;
    Ok(bytes)
}

fn to_message(row: &TokenRow, now: OffsetDateTime) -> v1::Token {
    let state = match &row.redeemed {
        _ if row.revoked => State::Revoked,
        Some(_) => State::Redeemed,
        None if now.unix_timestamp() > row.expires_at => State::Expired,
        None => State::Offered,
    };
    v1::Token {
        id: row.id.clone(),
        spiffe_id: row.spiffe_id.clone(),
        state: state.into(),
        expires_at: Some(prost_types::Timestamp {
            seconds: row.expires_at,
            nanos: 0,
        }),
        registration: row.registration.clone(),
        redeemed_serial: row
            .redeemed
            .as_ref()
            .map_or_else(String::new, |redeemed| hex::encode(&redeemed.serial)),
    }
}

#[tonic::async_trait]
impl v1::tokens_server::Tokens for TokensService {
    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        let by = self.admin.writer(&request)?;
        let created = self.create(&by, request.into_inner()).await;
        Ok(Response::new(self.admin.told(&by, created)?))
    }

    async fn list_tokens(
        &self,
        request: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        self.admin.reader(&request)?;
        Ok(Response::new(self.list(request.into_inner())?))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        let by = self.admin.writer(&request)?;
        let revoked = self.revoke(&by, request.into_inner()).await;
        Ok(Response::new(self.admin.told(&by, revoked)?))
    }
}

#[cfg(test)]
mod tests;
