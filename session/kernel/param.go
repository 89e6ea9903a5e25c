package kernel

import "fmt"

// Param is an ISCSI_PARAM_* (include/scsi/iscsi_if.h, enum iscsi_param). The
// numbers are the kernel's interface. Times are in whole seconds, switches are
// 0 or 1.
type Param uint32

// The parameters that a software initiator sets.
const (
	MaxRecvDLength    Param = 0
	MaxXmitDLength    Param = 1
	HeaderDigest      Param = 2
	DataDigest        Param = 3
	InitialR2T        Param = 4
	MaxR2T            Param = 5
	ImmediateData     Param = 6
	FirstBurst        Param = 7
	MaxBurst          Param = 8
	PDUInOrder        Param = 9
	DataSeqInOrder    Param = 10
	ERL               Param = 11
	ExpStatSN         Param = 14
	TargetName        Param = 15
	TPGT              Param = 16
	PersistentAddress Param = 17
	PersistentPort    Param = 18
	RecoveryTimeout   Param = 19
	Username          Param = 22
	UsernameIn        Param = 23
	Password          Param = 24
	PasswordIn        Param = 25
	FastAbort         Param = 26
	AbortTimeout      Param = 27
	LUResetTimeout    Param = 28
	PingTimeout       Param = 30 // NOP-Out: seconds until its answer
	RecvTimeout       Param = 31 // NOP-Out: idle seconds before it is sent
	IfaceName         Param = 32
	InitiatorName     Param = 34
	TgtResetTimeout   Param = 35
	DiscoverySession  Param = 43
)

// String returns the kernel's name, without ISCSI_PARAM_.
func (p Param) String() string {
	switch p {
	case MaxRecvDLength:
		return "MAX_RECV_DLENGTH"
	case MaxXmitDLength:
		return "MAX_XMIT_DLENGTH"
	case HeaderDigest:
		return "HDRDGST_EN"
	case DataDigest:
		return "DATADGST_EN"
	case InitialR2T:
		return "INITIAL_R2T_EN"
	case MaxR2T:
		return "MAX_R2T"
	case ImmediateData:
		return "IMM_DATA_EN"
	case FirstBurst:
		return "FIRST_BURST"
	case MaxBurst:
		return "MAX_BURST"
	case PDUInOrder:
		return "PDU_INORDER_EN"
	case DataSeqInOrder:
		return "DATASEQ_INORDER_EN"
	case ERL:
		return "ERL"
	case ExpStatSN:
		return "EXP_STATSN"
	case TargetName:
		return "TARGET_NAME"
	case TPGT:
		return "TPGT"
	case PersistentAddress:
		return "PERSISTENT_ADDRESS"
	case PersistentPort:
		return "PERSISTENT_PORT"
	case RecoveryTimeout:
		return "SESS_RECOVERY_TMO"
	case Username:
		return "USERNAME"
	case UsernameIn:
		return "USERNAME_IN"
	case Password:
		return "PASSWORD"
	case PasswordIn:
		return "PASSWORD_IN"
	case FastAbort:
		return "FAST_ABORT"
	case AbortTimeout:
		return "ABORT_TMO"
	case LUResetTimeout:
		return "LU_RESET_TMO"
	case PingTimeout:
		return "PING_TMO"
	case RecvTimeout:
		return "RECV_TMO"
	case IfaceName:
		return "IFACE_NAME"
	case InitiatorName:
		return "INITIATOR_NAME"
	case TgtResetTimeout:
		return "TGT_RESET_TMO"
	case DiscoverySession:
		return "DISCOVERY_SESS"
	}
	return fmt.Sprintf("parameter %d", uint32(p))
}

// StopFlag says what STOP_CONN is for (STOP_CONN_* of iscsi_if.h).
type StopFlag uint32

// The flags.
const (
	StopTerm    StopFlag = 1 // the connection is given up
	StopRecover StopFlag = 3 // it is to be bound again; the session waits for it
)

// ConnError is the reason why the kernel gave a connection up (enum iscsi_err
// of iscsi_if.h: 1000 and more).
type ConnError uint32

// The reasons that the software initiator has.
const (
	DataSN          ConnError = 1001
	DataOffset      ConnError = 1002
	MaxCmdSN        ConnError = 1003
	ExpCmdSN        ConnError = 1004
	BadOpcode       ConnError = 1005
	DataDLength     ConnError = 1006
	Protocol        ConnError = 1007
	ConnFailure     ConnError = 1011
	SessionFailure  ConnError = 1013
	HeaderDigestErr ConnError = 1014
	DataDigestErr   ConnError = 1015
	XmitFailed      ConnError = 1019
	TCPConnClose    ConnError = 1020
	SCSIEHReset     ConnError = 1021
	NOPTimedOut     ConnError = 1022
)

func (e ConnError) Error() string {
	text := ""
	switch e {
	case DataSN, DataOffset, MaxCmdSN, ExpCmdSN, BadOpcode, DataDLength, Protocol:
		text = "the target broke the protocol"
	case ConnFailure:
		text = "the connection failed"
	case SessionFailure:
		text = "the session failed"
	case HeaderDigestErr:
		text = "a header digest was wrong"
	case DataDigestErr:
		text = "a data digest was wrong"
	case XmitFailed:
		text = "sending failed"
	case TCPConnClose:
		text = "the TCP connection was closed"
	case SCSIEHReset:
		text = "SCSI error handling dropped the session"
	case NOPTimedOut:
		text = "the target did not answer a NOP-Out"
	default:
		return fmt.Sprintf("connection error %d", uint32(e))
	}
	return fmt.Sprintf("%s (connection error %d)", text, uint32(e))
}
