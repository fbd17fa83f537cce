package wire

import "strings"

const slots = 16384 // of a Redis Cluster

// hashTag is the part of key that says which slot it is in: what stands
// between the first { and the next }, unless that is nothing, else all of it.
func hashTag(key string) string {
	_, rest, open := strings.Cut(key, "{")
	tag, _, closed := strings.Cut(rest, "}")
	if !open || !closed || tag == "" {
		return key
	}
	return tag
}

func slot(key string) uint16 { return crc16(0, hashTag(key)) % slots }

// slotTag returns a short text without braces that is in the slot n. It tries
// some ten thousand, in well under a millisecond, and is asked rarely.
func slotTag(n uint16) string {
	const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	for i := range len(letters) * len(letters) * len(letters) {
		head := letters[i/len(letters)/len(letters):][:1] + letters[i/len(letters)%len(letters):][:1] + letters[i%len(letters):][:1]
		crc := crc16(0, head)
		for j := range len(letters) {
			if crc16(crc, letters[j:j+1])%slots == n {
				return head + letters[j:j+1]
			}
		}
	}
	return "" // a test sees that every slot is found
}

// crc16 is CRC-16/XMODEM, continued from crc.
func crc16(crc uint16, s string) uint16 {
	for i := range len(s) {
		crc ^= uint16(s[i]) << 8
		for range 8 {
			carry := crc >> 15
			crc = crc<<1 ^ carry*0x1021
		}
	}
	return crc
}
