"""Prints a key set and access tokens (RFC 9068) made with PyJWT: good ones of three kinds, and ones to be refused."""

import base64
import hmac
import json
import sys
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

issuer, audience = sys.argv[1:]
now = int(time.time())
keys = {
    "EdDSA": (ed25519.Ed25519PrivateKey.generate(), OKPAlgorithm),
    "ES256": (ec.generate_private_key(ec.SECP256R1()), ECAlgorithm),
    "RS256": (rsa.generate_private_key(public_exponent=65537, key_size=2048), RSAAlgorithm),
}
claims = {"iss": issuer, "aud": audience, "sub": "ops", "jti": "t-1", "role": "admin", "client_id": "c", "iat": now, "exp": now + 600}


def sign(algorithm, kid=None, header=None, **changed):
    headers = {"typ": "at+jwt", "kid": kid or algorithm, **(header or {})}
    return jwt.encode({**claims, **changed}, keys[algorithm][0], algorithm=algorithm, headers=headers)


def public(algorithm):
    key, kind = keys[algorithm]
    jwk = json.loads(kind.to_jwk(key.public_key()))
    return {**jwk, "kid": algorithm, "use": "sig", "alg": algorithm}


jwks = {"keys": [public(algorithm) for algorithm in keys]}


def hmac_signed(secret):
    """What a verifier would take that lets the header choose between a signature and a secret that everybody knows."""
    part = lambda value: base64.urlsafe_b64encode(value).rstrip(b"=")
    text = part(json.dumps({"typ": "at+jwt", "kid": "EdDSA", "alg": "HS256"}).encode()) + b"." + part(json.dumps(claims).encode())
    return (text + b"." + part(hmac.new(secret, text, "sha256").digest())).decode()


bad = {
    "id_token": sign("EdDSA", header={"typ": "JWT"}),
    "audience": sign("EdDSA", aud="elsewhere"),
    "issuer": sign("ES256", iss=issuer + "/"),
    "expired": sign("RS256", iat=now - 700, exp=now - 100),
    "long_lived": sign("EdDSA", exp=now + 3600),
    "other_key": sign("ES256", kid="RS256"),
    "none": jwt.encode(claims, None, algorithm="none", headers={"typ": "at+jwt", "kid": "EdDSA"}),
    "hmac": hmac_signed(keys["EdDSA"][0].public_key().public_bytes_raw()),
}
good = {algorithm: sign(algorithm) for algorithm in keys}
print(json.dumps({"jwks": jwks, "good": good, "bad": bad, "unknown_key": sign("EdDSA", kid="elsewhere")}))
