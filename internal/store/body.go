package store

import "fmt"

// The codecs of a stored body.
const (
	codecNone = ""
	codecZstd = "zstd"
	// codecRemoved: the body was removed after the payload retention.
	codecRemoved = "removed"
)

// compress returns body as it is stored, exact bytes kept. A body that does not get
// smaller is stored uncompressed.
func (s *Store) compress(body []byte) (stored []byte, codec string) {
	zipped := s.zip.EncodeAll(body, make([]byte, 0, len(body)/4+64))
	if len(zipped) >= len(body) {
		return append([]byte{}, body...), codecNone
	}
	return zipped, codecZstd
}

func (s *Store) decompress(stored []byte, codec string) ([]byte, error) {
	switch codec {
	case codecNone, codecRemoved:
		return stored, nil
	case codecZstd:
		body, err := s.unzip.DecodeAll(stored, nil)
		if err != nil {
			return nil, fmt.Errorf("decompress body: %w", err)
		}
		return body, nil
	}
	return nil, fmt.Errorf("decompress body: unknown codec %q", codec)
}
