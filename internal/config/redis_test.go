package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/consumer"
	"github.com/wardstream/wardstream/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// TestRedisURLConnects: the URL that is accepted reaches a Redis.
func TestRedisURLConnects(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	c := load(t, "redis: {url: \""+env.URL+"\"}\n")
	if err := ping(t, c.Redis); err != nil {
		t.Error(err)
	}
	if config, err := c.Redis.TLSConfig(); config != nil || err != nil {
		t.Errorf("TLS without redis.tls: %+v, %v", config, err)
	}
}

// ping asks Redis for an answer the way the detector does.
func ping(t *testing.T, r Redis) error {
	t.Helper()
	config, err := r.TLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	clients, err := consumer.Connect(string(r.URL), consumer.ConnectOptions{TLS: config, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer clients.Close()
	return errors.Join(clients.Ops.Ping(t.Context()).Err(), clients.Read.Ping(t.Context()).Err())
}

// TestRedisTLSFilesConnect: with the files of redis.tls a client gets through to a Redis
// behind TLS that asks for a certificate, and without them it doesn't.
func TestRedisTLSFilesConnect(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	files, server := certificates(t)
	addr := terminateTLS(t, server, env.Client.Options().Addr)
	const all = "redis: {url: \"rediss://%s/0\", tls: {ca_file: %s, cert_file: %s, key_file: %s, server_name: %s}}\n"
	good := load(t, fmt.Sprintf(all, addr, files.CAFile, files.CertFile, files.KeyFile, files.ServerName)).Redis
	if err := ping(t, good); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*RedisTLS){
		"unknown authority": func(t *RedisTLS) { t.CAFile = "" },
		"wrong name":        func(t *RedisTLS) { t.ServerName = "other" },
		"host's name":       func(t *RedisTLS) { t.ServerName = "" },
		"no certificate":    func(t *RedisTLS) { t.CertFile, t.KeyFile = "", "" },
	} {
		bad := good
		change(&bad.TLS)
		if ping(t, bad) == nil {
			t.Errorf("%s: got through", name)
		}
	}
}

func TestTLSFilesRefused(t *testing.T) {
	t.Parallel()
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notPEM, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, files := range map[string]RedisTLS{
		"redis.tls.ca_file: holds no certificate in PEM form":           {CAFile: notPEM},
		"redis.tls.cert_file: can't be used with the key_file: tls: fa": {CertFile: notPEM, KeyFile: notPEM},
	} {
		_, err := Redis{URL: "rediss://h", TLS: files}.TLSConfig()
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// terminateTLS listens with TLS and passes everything on to a Redis.
func terminateTLS(t *testing.T, config *tls.Config, redisAddr string) string {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go relay(client, redisAddr)
		}
	}()
	return listener.Addr().String()
}

func relay(client net.Conn, redisAddr string) {
	defer client.Close()
	server, err := net.Dial("tcp", redisAddr)
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	_, _ = io.Copy(client, server)
}

// certificates makes an authority, a server "redis.test" and a client, and
// returns the client's files and the server's configuration.
func certificates(t *testing.T) (RedisTLS, *tls.Config) {
	t.Helper()
	dir := t.TempDir()
	ca := issue(t, nil, "authority")
	server, client := issue(t, ca, "redis.test"), issue(t, ca, "detector")
	files := RedisTLS{
		CAFile: filepath.Join(dir, "ca.pem"), CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"), ServerName: "redis.test",
	}
	key, err := x509.MarshalPKCS8PrivateKey(client.key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, files.CAFile, "CERTIFICATE", ca.cert.Raw)
	writePEM(t, files.CertFile, "CERTIFICATE", client.cert.Raw)
	writePEM(t, files.KeyFile, "PRIVATE KEY", key)
	authorities := x509.NewCertPool()
	authorities.AddCert(ca.cert)
	return files, &tls.Config{
		MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authorities,
		Certificates: []tls.Certificate{{Certificate: [][]byte{server.cert.Raw}, PrivateKey: server.key}},
	}
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

type identity struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate signed by the authority, or by itself.
func issue(t *testing.T, authority *identity, name string) *identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: authority == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	signer := authority
	if signer == nil {
		signer = &identity{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer.cert, &key.PublicKey, signer.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &identity{cert, key}
}

// TestRedisURLForms: both programs take them, and show them without their secrets.
func TestRedisURLForms(t *testing.T) {
	t.Parallel()
	for raw, shown := range map[string]string{
		"redis+sentinel://[::1]:26379,[::1]:26380/mymaster": "redis+sentinel://[::1]:26379,[::1]:26380/mymaster",
		"redis+sentinel://u:p@[::1]:26379, [::1]:26380/m":   "redis+sentinel://u:xxxxx@[::1]:26379, [::1]:26380/m",
		"redis+cluster://:p@a:1, b:2":                       "redis+cluster://:xxxxx@a:1, b:2",
		"redis://u:p@h:1/2\\n":                              "redis://u:xxxxx@h:1/2",
		"valkey://h":                                        "valkey://h",
		"valkeys://u:p@h:1":                                 "valkeys://u:xxxxx@h:1",
		"valkey+cluster://a,b":                              "valkey+cluster://a,b",
	} {
		c := load(t, "redis: {url: \""+raw+"\"}\n")
		if got := c.Redis.URL.Redacted(); got != shown {
			t.Errorf("%s is shown as %s, want %s", raw, got, shown)
		}
	}
}
