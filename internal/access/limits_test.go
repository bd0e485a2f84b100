package access

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
)

// TestLimiterMemory: any number of clients that fail takes the memory of few, and one network counts as one.
func TestLimiterMemory(t *testing.T) {
	now := time.Now()
	l := newLimiter(func() time.Time { return now })
	network := netip.MustParseAddr("2001:db8::1")
	for range maxFailures {
		l.failed(network)
	}
	if l.allows(netip.MustParseAddr("2001:db8::2")) || !l.allows(netip.MustParseAddr("2001:db8:0:1::1")) {
		t.Error("the clients of a network are not limited together, or those of another are")
	}
	for i := range 3 * maxClients {
		l.failed(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	if len(l.clients) > maxClients {
		t.Errorf("%d clients are kept", len(l.clients))
	}
	now = now.Add(failureWindow)
	if !l.allows(network) {
		t.Error("a client is refused for ever")
	}
}

// TestLanguage: Chinese for those who prefer it.
func TestLanguage(t *testing.T) {
	for accepted, want := range map[string]string{
		"": "en", "zh-CN,zh;q=0.9,en;q=0.8": "zh", "en-GB,en;q=0.9,zh;q=0.8": "en", "de, zh-TW;q=0.5": "zh", "fr": "en", "zh;q=0": "en", "zh;q=x": "en", "EN;q=0.2, ZH;q=0.3": "zh",
	} {
		if got := language(accepted); got != want {
			t.Errorf("%q: %s, want %s", accepted, got, want)
		}
	}
}

// TestLoginTexts: both languages have the same texts.
func TestLoginTexts(t *testing.T) {
	for key := range loginTexts["en"] {
		if loginTexts["zh"][key] == "" {
			t.Errorf("%q has no Chinese", key)
		}
	}
	if len(loginTexts["en"]) != len(loginTexts["zh"]) {
		t.Error("the languages differ in their texts")
	}
}

// TestStreams: nobody takes the places of all, what is not logged in counts as one, and the end waits for those that are open.
func TestStreams(t *testing.T) {
	streams := NewStreams(5, 2)
	open := func(identity string, want error) (done func()) {
		t.Helper()
		c := echo.New().NewContext(nil, nil)
		c.Set(userKey, User{Identity: identity})
		done, err := streams.Open(c)
		if !errors.Is(err, want) {
			t.Fatalf("%q: error %v, want %v", identity, err, want)
		}
		return done
	}
	all := []func(){open("", nil), open("", nil), open("token:a", nil), open("token:a", nil)}
	open("", ErrTooManyOfUser)
	open("token:a", ErrTooManyOfUser)
	all = append(all, open("token:b", nil))
	open("token:c", ErrTooManyStreams)
	all[0]()
	all[0] = open("", nil)
	closed := make(chan struct{})
	go func() { streams.Close(); close(closed) }()
	for _, done := range all {
		select {
		case <-closed:
			t.Fatal("it ended while a stream was open")
		default:
		}
		done()
	}
	<-closed
	open("", ErrTooManyStreams)
}
