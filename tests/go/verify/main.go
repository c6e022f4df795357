// Verifies certificate chains with crypto/x509 and prints the facts that it reads in their leaves. Standard input has one JSON object a line
// (roots, chain leaf first, both base64 DER, and the time); standard output has one line for each of them, in their order.
package main

import (
	"bufio"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

type chain struct {
	Roots [][]byte `json:"roots"`
	Chain [][]byte `json:"chain"`
	Now   int64    `json:"now"`
}

type result struct {
	Client string `json:"client"`
	Server string `json:"server"`
	Leaf   *facts `json:"leaf"`
}

// The facts of a leaf that Signet relies on.
type facts struct {
	Uris      []string `json:"uris"`
	DnsNames  []string `json:"dnsNames"`
	Addresses []string `json:"addresses"`
	Serial    string   `json:"serial"`
	NotBefore int64    `json:"notBefore"`
	NotAfter  int64    `json:"notAfter"`
	KeyDigest string   `json:"keyDigest"`
	IsCa      bool     `json:"isCa"`
}

func verify(input chain) result {
	leaf, err := x509.ParseCertificate(input.Chain[0])
	if err != nil {
		return result{Client: err.Error(), Server: err.Error()}
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	for _, der := range input.Roots {
		// As crypto/x509 itself reads a bundle: an unreadable certificate is skipped.
		if root, err := x509.ParseCertificate(der); err == nil {
			roots.AddCert(root)
		}
	}
	for _, der := range input.Chain[1:] {
		// As crypto/tls reads a peer's chain: an unreadable certificate ends the handshake.
		intermediate, err := x509.ParseCertificate(der)
		if err != nil {
			return result{Client: err.Error(), Server: err.Error(), Leaf: read(leaf)}
		}
		intermediates.AddCert(intermediate)
	}
	try := func(usage x509.ExtKeyUsage) string {
		_, err := leaf.Verify(x509.VerifyOptions{
			Roots:         roots,
			Intermediates: intermediates,
			CurrentTime:   time.Unix(input.Now, 0),
			KeyUsages:     []x509.ExtKeyUsage{usage},
		})
		if err != nil {
			return err.Error()
		}
		return ""
	}
	return result{Client: try(x509.ExtKeyUsageClientAuth), Server: try(x509.ExtKeyUsageServerAuth), Leaf: read(leaf)}
}

func read(leaf *x509.Certificate) *facts {
	digest := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	found := &facts{
		Uris:      []string{},
		DnsNames:  append([]string{}, leaf.DNSNames...),
		Addresses: []string{},
		Serial:    hex.EncodeToString(leaf.SerialNumber.Bytes()),
		NotBefore: leaf.NotBefore.Unix(),
		NotAfter:  leaf.NotAfter.Unix(),
		KeyDigest: hex.EncodeToString(digest[:]),
		IsCa:      leaf.BasicConstraintsValid && leaf.IsCA,
	}
	for _, extension := range leaf.Extensions {
		if extension.Id.String() == "2.5.29.17" {
			found.Uris = uris(extension.Value)
		}
	}
	for _, address := range leaf.IPAddresses {
		found.Addresses = append(found.Addresses, address.String())
	}
	return found
}

// The URIs of a subjectAltName as they are; x509.Certificate has them in a normal form.
func uris(value []byte) []string {
	list := []string{}
	var names asn1.RawValue
	if _, err := asn1.Unmarshal(value, &names); err != nil {
		return list
	}
	for rest := names.Bytes; len(rest) > 0; {
		var name asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &name); err != nil {
			return list
		}
		if name.Class == asn1.ClassContextSpecific && name.Tag == 6 {
			list = append(list, string(name.Bytes))
		}
	}
	return list
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<22)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var input chain
		if err := json.Unmarshal(lines.Bytes(), &input); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if err := out.Encode(verify(input)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
