package wire_test

import (
	"testing"

	"github.com/wardstream/wardstream/internal/wire"
)

func TestOwnDenial(t *testing.T) {
	t.Parallel()
	decoder := wire.NewDecoder(wire.DecoderOptions{})
	for text, want := range map[string]bool{
		`{"event_type": "http.response.client_error", "wardstream.denied": true}`:                                        true,
		`{"event_type": "http.response.client_error", "wardstream.denied": "true"}`:                                      true,
		`{"event_type": "http.response.client_error", "wardstream.denied": "True"}`:                                      true,
		`{"event_type": "http.response.client_error", "wardstream.denied": 1}`:                                           true,
		`{"event_type": "http.response.server_error", "wardstream": {"denied": true}}`:                                   true,
		`{"event_type": "http.response.client_error", "http.response.header.x-wardstream-denied": ["true"]}`:             true,
		`{"event_type": "http.response.client_error", "http.response.header.x-wardstream-denied": "true"}`:               true,
		`{"event_type": "http.response.client_error", "http": {"response": {"header": {"x-wardstream-denied": ["1"]}}}}`: true,
		`{"event_type": "http.response.client_error"}`:                                                                   false,
		`{"event_type": "http.response.client_error", "wardstream.denied": false}`:                                       false,
		`{"event_type": "http.response.client_error", "wardstream.denied": ""}`:                                          false,
		`{"event_type": "http.response.client_error", "wardstream.denied": [true]}`:                                      false,
		`{"event_type": "http.response.client_error", "http.response.header.x-wardstream-denied": []}`:                   false,
		`{"event_type": "http.response.client_error", "http.request.header.x-wardstream-denied": ["true"]}`:              false,
		`{"event_type": "auth.login.failed", "wardstream.denied": true}`:                                                 false,
		`{"event_type": "http.response.success", "wardstream.denied": true}`:                                             false,
		`{"event_type": "audit.http.request.pre", "wardstream.denied": true}`:                                            false,
	} {
		e, err := decoder.Decode("s", "1-1", []string{"event", text})
		if err != nil {
			t.Fatal(err)
		}
		if got := wire.OwnDenial(&e); got != want {
			t.Errorf("%s: %t, want %t", text, got, want)
		}
	}
}
