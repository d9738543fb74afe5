import * as oauth from "oauth4webapi";
import { clockSkew } from "../api/clock";

/** The OpenID provider, as GET /console/config.json names it. */
export interface ProviderConfig {
  issuer: string;
  client_id: string;
  scope: string;
  audience: string;
}

/** A request for a sign-in that was sent to the provider, and what its answer is checked with. */
export interface SignInRequest {
  state: string;
  nonce: string;
  verifier: string; // of PKCE
}

/** What the provider gives. */
export interface Tokens {
  access: string;
  expires: number; // in ms; 0 if the provider does not tell
  refresh: string; // empty if the provider gives none
  idToken: string;
  name: string; // of the user
}

/**
 * Why the provider gives no tokens: `away` if it cannot be reached, `insecure` if the
 * browser does not compute PKCE on this page, `canceled` if the user canceled, and
 * `refused` for all else.
 */
export type ProviderTrouble = "away" | "insecure" | "canceled" | "refused";

export class ProviderError extends Error {
  constructor(
    readonly trouble: ProviderTrouble,
    readonly detail = "", // of the provider
  ) {
    super(`${trouble} ${detail}`);
  }
}

const patience = 10_000; // ms for an answer of the provider

/**
 * The OpenID provider: authorization code with PKCE, refresh tokens, and sign-out that is
 * initiated here. The console is a public client. What the provider answers is checked by
 * oauth4webapi: issuer, state, nonce, audience, and the times of the ID token.
 */
export class Provider {
  private discovered: Promise<oauth.AuthorizationServer> | undefined;

  constructor(
    private readonly config: ProviderConfig,
    private readonly redirectUri: string,
  ) {}

  /** This client. The times of ID tokens are checked by the clock of the server: this device's may be wrong. */
  private get client(): oauth.Client {
    return { client_id: this.config.client_id, [oauth.clockSkew]: Math.round(clockSkew() / 1000) };
  }

  /** Returns a request for a sign-in, and the address to which it is sent. */
  async begin(newLogin: boolean): Promise<{ request: SignInRequest; url: string }> {
    const subtle = globalThis.crypto?.subtle as SubtleCrypto | undefined;
    if (!subtle) {
      throw new ProviderError("insecure");
    }
    const server = await this.discover();
    const request = { state: oauth.generateRandomState(), nonce: oauth.generateRandomNonce(), verifier: oauth.generateRandomCodeVerifier() };
    const url = new URL(required(server.authorization_endpoint));
    const parameters = {
      client_id: this.config.client_id, redirect_uri: this.redirectUri, response_type: "code", scope: this.config.scope, audience: this.config.audience,
      state: request.state, nonce: request.nonce, code_challenge: await oauth.calculatePKCECodeChallenge(request.verifier), code_challenge_method: "S256",
      ...(newLogin ? { prompt: "login" } : {}),
    };
    for (const [name, value] of Object.entries(parameters)) {
      url.searchParams.set(name, value);
    }
    return { request, url: url.href };
  }

  /** Takes the address to which the provider has sent the user back, and returns the tokens. */
  async complete(request: SignInRequest, address: URL): Promise<Tokens> {
    const server = await this.discover();
    return this.asking(async () => {
      const parameters = oauth.validateAuthResponse(server, this.client, address, request.state);
      const reply = await oauth.authorizationCodeGrantRequest(server, this.client, oauth.None(), parameters, this.redirectUri, request.verifier, this.options());
      const granted = await oauth.processAuthorizationCodeResponse(server, this.client, reply, { expectedNonce: request.nonce, requireIdToken: true });
      const claims = oauth.getValidatedIdTokenClaims(granted);
      if (!claims) {
        throw new ProviderError("refused");
      }
      return { ...tokensOf(granted), name: nameOf(claims) };
    });
  }

  /** Returns new tokens for a refresh token. */
  async renew(tokens: Tokens): Promise<Tokens> {
    const server = await this.discover();
    return this.asking(async () => {
      const reply = await oauth.refreshTokenGrantRequest(server, this.client, oauth.None(), tokens.refresh, this.options());
      const granted = tokensOf(await oauth.processRefreshTokenResponse(server, this.client, reply));
      return { ...tokens, ...granted, refresh: granted.refresh || tokens.refresh, idToken: granted.idToken || tokens.idToken };
    });
  }

  /**
   * Revokes the refresh token, where the provider can, and returns the address at which
   * the user signs out there; undefined if the provider has none.
   */
  async end(tokens: Tokens): Promise<string | undefined> {
    const server = await this.discover();
    if (server.revocation_endpoint && tokens.refresh !== "") {
      // A failure changes nothing: the refresh token leaves this browser anyway.
      await oauth.revocationRequest(server, this.client, oauth.None(), tokens.refresh, this.options()).catch(() => undefined);
    }
    if (!server.end_session_endpoint) {
      return undefined;
    }
    const url = new URL(server.end_session_endpoint);
    url.searchParams.set("id_token_hint", tokens.idToken);
    url.searchParams.set("client_id", this.config.client_id);
    url.searchParams.set("post_logout_redirect_uri", this.redirectUri);
    return url.href;
  }

  private discover(): Promise<oauth.AuthorizationServer> {
    const issuer = new URL(this.config.issuer);
    this.discovered ??= this.asking(async () => oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, this.options())));
    this.discovered.catch(() => (this.discovered = undefined));
    return this.discovered;
  }

  private options() {
    // The gateway accepts an http issuer on this machine only.
    return { signal: () => AbortSignal.timeout(patience), [oauth.allowInsecureRequests]: this.config.issuer.startsWith("http:") };
  }

  private async asking<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      throw asProviderError(thrown);
    }
  }
}

function tokensOf(granted: oauth.TokenEndpointResponse): Omit<Tokens, "name"> {
  return {
    access: granted.access_token,
    expires: granted.expires_in === undefined ? 0 : Date.now() + granted.expires_in * 1000,
    refresh: granted.refresh_token ?? "",
    idToken: granted.id_token ?? "",
  };
}

/** What a user is called: by the first claim that the provider gives. */
function nameOf(claims: oauth.IDToken): string {
  const named = ["name", "preferred_username", "email"].map((claim) => claims[claim]);
  return named.find((name): name is string => typeof name === "string" && name !== "") ?? claims.sub;
}

function required(endpoint: string | undefined): string {
  if (endpoint === undefined) {
    throw new ProviderError("refused");
  }
  return endpoint;
}

/** Anything thrown while the provider is asked. */
export function asProviderError(thrown: unknown): ProviderError {
  if (thrown instanceof ProviderError) {
    return thrown;
  }
  if (thrown instanceof oauth.AuthorizationResponseError) {
    return thrown.error === "access_denied" ? new ProviderError("canceled") : new ProviderError(unavailable(thrown.error) ? "away" : "refused", thrown.error_description ?? thrown.error);
  }
  if (thrown instanceof oauth.ResponseBodyError) {
    return new ProviderError(thrown.status >= 500 ? "away" : "refused", thrown.error_description ?? thrown.error);
  }
  if (thrown instanceof oauth.OperationProcessingError) {
    return new ProviderError(thrown.cause instanceof Response && thrown.cause.status >= 500 ? "away" : "refused", thrown.message);
  }
  return new ProviderError("away"); // fetch had no answer, or none in time
}

function unavailable(error: string): boolean {
  return error === "server_error" || error === "temporarily_unavailable";
}
