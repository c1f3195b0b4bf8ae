package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Every check of TLS starts a server of its own, from the program that SERVER names.
var tlsChecks = []check{
	{"tls/works", tlsWorks},
	{"tls/server-refused", tlsServerRefused},
	{"tls/client-refused", tlsClientRefused},
	{"tls/common-name-is-user", tlsCommonName},
	{"tls/password-and-token", tlsPassword},
}

// A certificate and its key, in memory and as files.
type identity struct {
	leaf      *x509.Certificate
	key       *ecdsa.PrivateKey
	cert, pem string
}

type owner struct {
	name    string
	hosts   []string
	expired bool
}

// authority vouches for others; its certificate and all that it issues are files in dir.
type authority struct {
	identity
	dir    string
	serial int64
}

func (t *tester) authority(dir, name string) *authority {
	a := &authority{dir: dir, serial: time.Now().UnixNano()}
	a.identity = t.issue(a, nil, owner{name: name})
	return a
}

// issue signs with the authority's key, or with the new one if there is no issuer: then the certificate vouches for itself.
func (t *tester) issue(a *authority, issuer *identity, o owner) identity {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	t.ok(err)
	a.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial),
		Subject:      pkix.Name{CommonName: o.name},
		NotBefore:    time.Now().Add(-48 * time.Hour),
		NotAfter:     time.Now().Add(48 * time.Hour),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if o.expired {
		template.NotAfter = time.Now().Add(-24 * time.Hour)
	}
	for _, host := range o.hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.leaf, issuer.key
	} else if len(o.hosts) == 0 {
		template.IsCA, template.BasicConstraintsValid = true, true
		template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	t.ok(err)
	leaf, err := x509.ParseCertificate(der)
	t.ok(err)
	bytes, err := x509.MarshalECPrivateKey(key)
	t.ok(err)
	made := identity{leaf, key, filepath.Join(a.dir, o.name+".crt"), filepath.Join(a.dir, o.name+".key")}
	t.write(made.cert, "CERTIFICATE", der)
	t.write(made.pem, "EC PRIVATE KEY", bytes)
	return made
}

func (t *tester) write(path, label string, der []byte) {
	t.ok(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}), 0o600))
}

func (t *tester) revoke(a *authority, path string, revoked identity) {
	list := &x509.RevocationList{
		Number:     big.NewInt(1),
		ThisUpdate: time.Now(),
		NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{
			{SerialNumber: revoked.leaf.SerialNumber, RevocationTime: time.Now()},
		},
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.leaf, a.key)
	t.ok(err)
	t.write(path, "X509 CRL", der)
}

// trusting is the TLS of a client that trusts the authority and shows a certificate, if it has one.
func trusting(a *authority, shown *identity) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.leaf)
	config := &tls.Config{RootCAs: pool}
	if shown != nil {
		config.Certificates = []tls.Certificate{{Certificate: [][]byte{shown.leaf.Raw}, PrivateKey: shown.key}}
	}
	return config
}

// secured is a server with TLS on its only client port.
type secured struct {
	endpoint string
	mutex    sync.Mutex
	log      []string
}

func (t *tester) temp() string {
	dir, err := os.MkdirTemp("", "go-tls")
	t.ok(err)
	t.cleanups = append(t.cleanups, func() { os.RemoveAll(dir) })
	return dir
}

// freePort is none of those that the kernel gives to outgoing connections, which take any of theirs at any moment.
func (t *tester) freePort() int {
	first, last := 32768, 60999
	if ports, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		fmt.Sscan(string(ports), &first, &last)
	}
	if first <= 10000 && last >= 32000 {
		first, last = 0, 0
	}
	for range 1000 {
		port := 10000 + mathrand.IntN(22000)
		if first <= port && port <= last {
			continue
		}
		if listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			listener.Close()
			return port
		}
	}
	t.failf("no port is free")
	return 0
}

func (t *tester) serve(shown identity, flags ...string) *secured {
	peer := fmt.Sprintf("http://127.0.0.1:%d", t.freePort())
	s := &secured{endpoint: fmt.Sprintf("https://127.0.0.1:%d", t.freePort())}
	words := append([]string{
		"--name=m1", "--data-dir=" + filepath.Join(t.temp(), "data"), "--bcrypt-cost=4",
		"--listen-client-urls=" + s.endpoint, "--advertise-client-urls=" + s.endpoint,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=m1=" + peer,
		"--cert-file=" + shown.cert, "--key-file=" + shown.pem,
	}, flags...)
	command := exec.Command(os.Getenv("SERVER"), words...)
	out, err := command.StderrPipe()
	t.ok(err)
	t.ok(command.Start())
	t.cleanups = append(t.cleanups, func() { command.Process.Kill(); command.Wait() })
	go func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			s.mutex.Lock()
			s.log = append(s.log, lines.Text())
			s.mutex.Unlock()
		}
	}()
	t.logged(s, "ready to serve client requests")
	return s
}

// logged waits for a line of the server's log that has all these parts.
func (t *tester) logged(s *secured, parts ...string) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		s.mutex.Lock()
		for _, line := range s.log {
			has := true
			for _, part := range parts {
				has = has && strings.Contains(line, part)
			}
			if has {
				s.mutex.Unlock()
				return
			}
		}
		s.mutex.Unlock()
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	t.failf("not in the log: %q; it ends with\n%s", parts, strings.Join(s.log[max(0, len(s.log)-5):], "\n"))
}

func (t *tester) over(s *secured, config *tls.Config, change ...func(*clientv3.Config)) (*clientv3.Client, error) {
	all := clientv3.Config{
		Endpoints:   []string{s.endpoint},
		DialTimeout: patience,
		TLS:         config,
		Logger:      zap.NewNop(),
	}
	for _, one := range change {
		one(&all)
	}
	cli, err := clientv3.New(all)
	if err == nil {
		t.cleanups = append(t.cleanups, func() { cli.Close() })
	}
	return cli, err
}

func (t *tester) must(cli *clientv3.Client, err error) *clientv3.Client {
	t.ok(err)
	return cli
}

// refused asks once, in vain, and then shakes hands without gRPC in between, which keeps to itself why it does not come about.
func (t *tester) refused(s *secured, config *tls.Config, reasons ...string) {
	cli := t.must(t.over(s, config))
	ctx, cancel := context.WithTimeout(t.ctx, time.Second)
	defer cancel()
	if _, err := cli.Get(ctx, "a"); err == nil {
		t.failf("it was not refused; expected %q", reasons)
	}
	err := shake(strings.TrimPrefix(s.endpoint, "https://"), config)
	if err == nil {
		t.failf("hands were shaken; expected %q", reasons)
	}
	for _, reason := range reasons {
		if strings.Contains(err.Error(), reason) {
			return
		}
	}
	t.failf("refused with %v; expected one of %q", err, reasons)
}

// shake ends without an error if the server takes the client; in TLS 1.3 the client hears of it with the first bytes that it reads.
func shake(address string, config *tls.Config) error {
	config = config.Clone()
	config.NextProtos = []string{"h2"}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", address, config)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	_, err = conn.Read(make([]byte, 1))
	return err
}

func here(name string) owner { return owner{name: name, hosts: []string{"localhost", "127.0.0.1"}} }

func tlsWorks(t *tester) {
	a := t.authority(t.temp(), "authority")
	s := t.serve(t.issue(a, &a.identity, here("server")))
	cli := t.must(t.over(s, trusting(a, nil)))
	watched := cli.Watch(t.ctx, "a", clientv3.WithRev(1))
	_, err := cli.Put(t.ctx, "a", "1")
	t.ok(err)
	t.equal("event", string((<-watched).Events[0].Kv.Value), "1")
	lease, err := cli.Grant(t.ctx, 60)
	t.ok(err)
	_, err = cli.KeepAliveOnce(t.ctx, lease.ID)
	t.ok(err)
	status, err := cli.Status(t.ctx, s.endpoint)
	t.ok(err)
	t.equal("leader", status.Leader, status.Header.MemberId)
	named := trusting(a, nil)
	named.ServerName = "localhost"
	_, err = t.must(t.over(s, named)).Get(t.ctx, "a")
	t.ok(err)
	anybody := &tls.Config{InsecureSkipVerify: true}
	_, err = t.must(t.over(s, anybody)).Get(t.ctx, "a")
	t.ok(err)
}

func tlsServerRefused(t *tester) {
	a, other := t.authority(t.temp(), "authority"), t.authority(t.temp(), "other")
	late := here("late")
	late.expired = true
	unknown := "certificate signed by unknown authority"
	for _, one := range []struct {
		shown   identity
		reason  string
		alerted string
	}{
		{t.issue(other, &other.identity, here("foreign")), unknown, "remote error: tls: bad certificate"},
		{t.issue(a, nil, here("self")), unknown, "remote error: tls: bad certificate"},
		{t.issue(a, &a.identity, late), "certificate has expired", "remote error: tls: bad certificate"},
		{t.issue(a, &a.identity, owner{name: "far", hosts: []string{"far.invalid"}}), "x509", "remote error: tls: bad certificate"},
	} {
		s := t.serve(one.shown)
		t.refused(s, trusting(a, nil), one.reason)
		t.logged(s, "rejected connection", one.alerted)
	}
}

func tlsClientRefused(t *tester) {
	a, other := t.authority(t.temp(), "authority"), t.authority(t.temp(), "other")
	list := filepath.Join(a.dir, "revoked.crl")
	revoked := t.issue(a, &a.identity, owner{name: "revoked"})
	t.revoke(a, list, revoked)
	s := t.serve(t.issue(a, &a.identity, here("server")),
		"--client-cert-auth", "--trusted-ca-file="+a.cert, "--client-crl-file="+list)
	good := t.issue(a, &a.identity, owner{name: "good"})
	_, err := t.must(t.over(s, trusting(a, &good))).Put(t.ctx, "a", "1")
	t.ok(err)
	late := t.issue(a, &a.identity, owner{name: "late", expired: true})
	foreign := t.issue(other, &other.identity, owner{name: "foreign"})
	self := t.issue(a, nil, here("self"))
	for _, one := range []struct {
		shown  *identity
		reason string
		// What the client is told; the first is Tenure's alert, the second etcd's, if it says less.
		heard []string
	}{
		{nil, "tls: client didn't provide a certificate", []string{"certificate required", "bad certificate"}},
		{&late, "certificate has expired or is not yet valid", []string{"expired certificate", "bad certificate"}},
		{&foreign, "certificate signed by unknown authority", []string{"unknown certificate authority", "bad certificate"}},
		{&self, "certificate signed by unknown authority", []string{"unknown certificate authority", "bad certificate"}},
		// etcd looks at its list after the handshake, and just closes.
		{&revoked, "revoked", []string{"revoked certificate", "EOF", "connection reset"}},
	} {
		t.refused(s, always(trusting(a, one.shown)), one.heard...)
		t.logged(s, "rejected connection", one.reason)
	}
	_, err = t.must(t.over(s, trusting(a, &good))).Get(t.ctx, "a")
	t.ok(err)
}

// always shows the certificate though the server has not named its issuer among those that it trusts.
func always(config *tls.Config) *tls.Config {
	if len(config.Certificates) > 0 {
		shown := config.Certificates[0]
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown, nil }
	}
	return config
}

// guarded makes root and alice, who may read and write a, and turns authentication on.
func (t *tester) guarded(cli *clientv3.Client) {
	_, err := cli.UserAdd(t.ctx, "root", "root's")
	t.ok(err)
	_, err = cli.UserGrantRole(t.ctx, "root", "root")
	t.ok(err)
	_, err = cli.RoleAdd(t.ctx, "a")
	t.ok(err)
	_, err = cli.RoleGrantPermission(t.ctx, "a", "a", "", clientv3.PermissionType(clientv3.PermReadWrite))
	t.ok(err)
	_, err = cli.UserAddWithOptions(t.ctx, "alice", "", &clientv3.UserAddOptions{NoPassword: true})
	t.ok(err)
	_, err = cli.UserGrantRole(t.ctx, "alice", "a")
	t.ok(err)
	_, err = cli.AuthEnable(t.ctx)
	t.ok(err)
}

func tlsCommonName(t *tester) {
	a := t.authority(t.temp(), "authority")
	s := t.serve(t.issue(a, &a.identity, here("server")), "--client-cert-auth", "--trusted-ca-file="+a.cert)
	alice, mallory := t.issue(a, &a.identity, owner{name: "alice"}), t.issue(a, &a.identity, owner{name: "mallory"})
	cli := t.must(t.over(s, trusting(a, &alice)))
	t.guarded(cli)
	_, err := cli.Put(t.ctx, "a", "1")
	t.ok(err)
	_, err = cli.Put(t.ctx, "z", "1")
	t.is(err, rpctypes.ErrPermissionDenied)
	_, err = cli.UserList(t.ctx)
	t.is(err, rpctypes.ErrPermissionDenied)
	_, err = t.must(t.over(s, trusting(a, &mallory))).Get(t.ctx, "a")
	t.is(err, rpctypes.ErrPermissionDenied)
	// Who logs in is that user, whatever the certificate says.
	root := t.must(t.over(s, trusting(a, &mallory), func(c *clientv3.Config) { c.Username, c.Password = "root", "root's" }))
	_, err = root.Put(t.ctx, "z", "1")
	t.ok(err)
	// Nobody logs in as a user without a password.
	_, err = cli.Authenticate(t.ctx, "alice", "")
	if err == nil || !strings.Contains(err.Error(), "no password user") {
		t.failf("a log-in without a password: %v", err)
	}
}

func tlsPassword(t *tester) {
	a := t.authority(t.temp(), "authority")
	s := t.serve(t.issue(a, &a.identity, here("server")), "--auth-token-ttl=4")
	cli := t.must(t.over(s, trusting(a, nil)))
	t.guarded(cli)
	_, err := cli.Get(t.ctx, "a")
	t.is(err, rpctypes.ErrUserEmpty)
	_, err = cli.Authenticate(t.ctx, "root", "wrong")
	t.is(err, rpctypes.ErrAuthFailed)
	root := t.must(t.over(s, trusting(a, nil), func(c *clientv3.Config) { c.Username, c.Password = "root", "root's" }))
	_, err = root.Put(t.ctx, "a", "1")
	t.ok(err)
	answer, err := cli.Authenticate(t.ctx, "root", "root's")
	t.ok(err)
	bearer := t.must(t.over(s, trusting(a, nil), func(c *clientv3.Config) { c.Token = answer.Token }))
	_, err = bearer.Put(t.ctx, "a", "2")
	t.ok(err)
	// A token lives from use to use, so to see it end is to leave it alone, and longer if that was not enough.
	for pause := 5 * time.Second; err == nil && pause < 40*time.Second; pause *= 2 {
		time.Sleep(pause)
		_, err = bearer.Put(t.ctx, "a", "3")
	}
	t.is(err, rpctypes.ErrInvalidAuthToken)
	// Root's is over as well, and his client gets another one.
	_, err = root.Put(t.ctx, "a", "4")
	t.ok(err)
	_, err = root.AuthDisable(t.ctx)
	t.ok(err)
	_, err = cli.Put(t.ctx, "a", "5")
	t.ok(err)
}
