package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/testenv"
)

// certificate writes a certificate that signs itself, for a name, and its key.
func certificate(t *testing.T, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestTLS: Redis by TLS, with an authority, a name and a client certificate of one's own.
func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t, "redis.test")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	server := testenv.PrivateRedis(t, "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "yes")
	in := install(t, &server.RedisEnv, nil, "rules: [{name: brute_force_login, threshold: 1}]\nredis: {tls: {ca_file: "+cert+", cert_file: "+cert+", key_file: "+key+", server_name: redis.test}}\n")
	in.env = append(in.env, "WARDSTREAM_REDIS_URL=rediss://127.0.0.1:"+port+"/0")
	in.examine(0).has(t, "ok", "redis", "rediss://127.0.0.1:"+port+"/0 answers", "")
	in.publish("event_type", failed, "source.address", attacker)
	w := in.start()
	in.settled("detectors")
	in.command("blocks", "ip", attacker).answers(t, 0)
	w.stop()

	unknown := append(in.env, "WARDSTREAM_REDIS_TLS_CA_FILE=", "WARDSTREAM_REDIS_TLS_SERVER_NAME=other.test")
	command(t, unknown, "blocks", "--config", in.file).fails(t, "can't be reached; start it or correct redis.url: ask for its version: tls: ")
}
