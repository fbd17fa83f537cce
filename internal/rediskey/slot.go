package rediskey

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

const tagLetters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// slotTag returns four letters that are in the slot n. What each letter gives
// to the checksum doesn't depend on the others, so it is enough to find two pairs that fit:
// some ten microseconds.
func slotTag(n uint16) string {
	const l = len(tagLetters)
	var share [4][l]uint16
	for place := range share {
		for j := range l {
			share[place][j] = crc16(crc16(0, tagLetters[j:j+1]), "\x00\x00\x00"[place:])
		}
	}
	var pairs [slots]uint16 // of last letters, plus one, by what they give
	for j := range l {
		for k := range l {
			pairs[(share[2][j]^share[3][k])%slots] = uint16(1 + j*l + k)
		}
	}
	for j := range l {
		for k := range l {
			if last := int(pairs[(n^share[0][j]^share[1][k])%slots]); last > 0 {
				return string([]byte{tagLetters[j], tagLetters[k], tagLetters[(last-1)/l], tagLetters[(last-1)%l]})
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
