package targettest

import "github.com/rootlun/rootlun/session/pdu"

// Script is called with each answer before it is sent, and changes it. It runs
// on the connection's goroutine.
type Script func(a *Answer)

// Answer is what the target is about to send for one request.
type Answer struct {
	Connection int     // 1 for the first that the target accepted
	Exchange   int     // 1 for the first request of the connection
	Request    pdu.PDU // as received

	Login *pdu.LoginResponse // nil once the login is over; its Data is made of Keys
	PDU   *pdu.PDU           // the answer once the login is over; nil: none
	Keys  []pdu.Pair         // the text of a Login or Text Response
	Text  []byte             // when not nil: the text in place of Keys

	Before []pdu.PDU // sent ahead of the answer
	Raw    []byte    // sent in place of the answer
	Split  int       // bytes of text a PDU (C bit); 0: all at once
	Chunk  int       // bytes a write; 0: all at once
	Cut    int       // close after so many bytes of the answer; 0: do not
	Close  bool      // close after the answer
	Stall  bool      // send nothing until the initiator closes
}

// Set gives a key a value, in its place or at the end.
func (a *Answer) Set(key, value string) {
	for i := range a.Keys {
		if a.Keys[i].Key == key {
			a.Keys[i].Value = value
			return
		}
	}
	a.Keys = append(a.Keys, pdu.Pair{Key: key, Value: value})
}

// Get returns the value of a key of the answer, or "".
func (a *Answer) Get(key string) string {
	for _, p := range a.Keys {
		if p.Key == key {
			return p.Value
		}
	}
	return ""
}

// Delete takes a key out.
func (a *Answer) Delete(key string) {
	var keys []pdu.Pair
	for _, p := range a.Keys {
		if p.Key != key {
			keys = append(keys, p)
		}
	}
	a.Keys = keys
}

// Status makes the login response one with this status, 0x0203 for example,
// and nothing else.
func (a *Answer) Status(code uint16) {
	a.Login.StatusClass, a.Login.StatusDetail = byte(code>>8), byte(code)
	a.Login.Transit, a.Keys = false, nil
}

// At runs s at one exchange of each connection.
func At(exchange int, s Script) Script {
	return func(a *Answer) {
		if a.Exchange == exchange {
			s(a)
		}
	}
}

// Refuse answers every login with a status.
func Refuse(code uint16) Script { return At(1, func(a *Answer) { a.Status(code) }) }

// Redirect answers every login with status 0x0101 or 0x0102 and an address.
func Redirect(code uint16, address string) Script {
	return At(1, func(a *Answer) {
		a.Status(code)
		a.Set("TargetAddress", address)
	})
}

// Stall never answers.
func Stall() Script { return func(a *Answer) { a.Stall = true } }
